"""Tracks: one for each structure, through nights that did not see it, until nights that did say that it is gone."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import MultiPolygon, box

from inference.tracks import MIN_IOU, Step, Structure, agreement, match, step


def hall(x: float, y: float = 0.0, side: float = 20.0, kind: Any = "new") -> Structure:
    return Structure(kind, box(x, y, x + side, y + side))


ALL = box(-1000, -1000, 1000, 1000)


def test_a_structure_that_is_seen_again_goes_on_and_another_one_starts() -> None:
    assert step([hall(0)], [hall(100), hall(1, 1)], ALL) == Step(((0, 1),), (0,), (), ())


def test_what_is_gone_is_missed_and_what_was_not_seen_is_not() -> None:
    tracks = [hall(0), hall(100), hall(200)]
    covered = box(-10, -10, 109, 30)  # all of the first, 9 of 20 m of the second, nothing of the third
    assert step(tracks, [], covered) == Step((), (), (0,), (1, 2))
    assert step(tracks, [], None) == Step((), (), (), (0, 1, 2))


def test_half_of_it_seen_is_enough_to_miss_it() -> None:
    assert step([hall(0)], [], box(0, 0, 10, 20)).missed == (0,)
    assert step([hall(0)], [], box(0, 0, 9.9, 20)).unseen == (0,)


def test_two_findings_never_belong_to_one_track_nor_two_tracks_to_one_finding() -> None:
    whole, left, right = box(0, 0, 20, 20), box(0, 0, 13, 20), box(13, 0, 20, 20)
    assert match([Structure("new", whole)], [Structure("new", right), Structure("new", left)]) == ((0, 1),)
    assert match([Structure("new", right), Structure("new", left)], [Structure("new", whole)]) == ((1, 0),)


@pytest.mark.parametrize(("side", "matched"), [(10.0, True), (8.0, True)])
def test_two_metres_off_is_the_same(side: float, matched: bool) -> None:
    assert bool(match([hall(0, 0, side)], [hall(2, 2, side)])) is matched
    assert agreement(hall(0, 0, side), hall(2, 2, side)) > MIN_IOU


def test_a_small_one_is_matched_by_distance_and_a_large_one_is_not() -> None:
    assert match([hall(0, 0, 4)], [hall(4.5, 0, 4)]) == ((0, 0),)
    assert match([hall(0, 0, 4)], [hall(5.5, 0, 4)]) == ()
    assert match([hall(0, 0, 20)], [hall(21, 0, 20)]) == ()
    assert match([hall(0, 0, 3)], [hall(1, 1, 7)]) == ()  # five times as large, and hardly an overlap


def test_what_overlaps_goes_before_what_is_near() -> None:
    shed, beside, over = hall(0, 0, 6), hall(-4.5, 0, 5), hall(1, 1, 6)
    assert match([shed], [beside, over]) == ((0, 1),)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("new", "new", True), ("new", "remaining", True), ("remaining", "remaining", True),
        ("remaining", "new", False), ("removed", "removed", True), ("removed", "new", False),
        ("new", "removed", False),
    ],
)  # fmt: skip
def test_a_kind_goes_on_with_its_own_and_what_was_new_remains(before: Any, after: Any, same: bool) -> None:
    assert bool(match([hall(0, kind=before)], [hall(0, kind=after)])) is same


def test_parts_that_meet_in_a_corner_are_one_structure() -> None:
    parts = Structure("new", MultiPolygon([box(0, 0, 10, 10), box(10, 10, 20, 20)]))
    assert match([parts], [Structure("new", affinity.translate(parts.outline, 1, 0))]) == ((0, 0),)


def test_nothing_matches_nothing() -> None:
    assert step([], [], ALL) == Step((), (), (), ())
    assert step([], [hall(0)], ALL).started == (0,)


squares = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(3, 15)), min_size=1, max_size=8, unique=True
)


@given(squares, squares, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(a: Any, b: Any, dice: random.Random) -> None:
    tracks, found = ([hall(*each) for each in given] for given in (a, b))
    first = {(tracks[i].outline.wkt, found[j].outline.wkt) for i, j in match(tracks, found)}
    mixed_tracks, mixed_found = dice.sample(tracks, len(tracks)), dice.sample(found, len(found))
    again = {(mixed_tracks[i].outline.wkt, mixed_found[j].outline.wkt) for i, j in match(mixed_tracks, mixed_found)}
    assert first == again
    assert len({i for i, _ in first}) == len({j for _, j in first}) == len(first)


@given(squares, squares)
def test_every_track_and_finding_is_accounted_for_once(a: Any, b: Any) -> None:
    tracks, found = ([hall(*each) for each in given] for given in (a, b))
    result = step(tracks, found, box(0, 0, 20, 40))
    assert sorted([*(i for i, _ in result.matched), *result.missed, *result.unseen]) == list(range(len(tracks)))
    assert sorted([*(j for _, j in result.matched), *result.started]) == list(range(len(found)))
