"""Findings are drawn where they are, in colours that everybody can tell apart."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import Polygon, box

from inference.findings import KINDS, Assessment, Finding, Kind, Verdict, VerdictKind
from inference.pair import Pair, Registration
from inference.render import COLOURS, encode_jpeg, encode_png, overlay
from tests.imagery import ground, raster

PICTURE = ground(1, 120, 160)
IDENTITY = Registration("identity", 0, 1.0, 0.0)


def drawn(*findings: Finding) -> np.ndarray:
    pair = Pair(raster(ground(2, 120, 160)), raster(PICTURE), Registration("identity", 0, 1.0, 0.0))
    return overlay(Assessment(Verdict(VerdictKind.NEW), findings, pair))


def finding(polygon: Polygon, kind: Kind = "new") -> Finding:
    return Finding(polygon, kind, 0.9, polygon.area)


def test_without_findings_the_later_picture_is_shown_as_it_is() -> None:
    assert np.array_equal(drawn(), PICTURE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_is_outlined_in_the_colour_of_its_kind(kind: Kind) -> None:
    picture = drawn(finding(box(30, 20, 80, 60), kind)).astype(int)
    edges = (picture[19:21, 31:79], picture[59:61, 31:79], picture[21:59, 29:31], picture[21:59, 79:81])
    for edge in edges:  # one pixel on either side
        assert np.abs(edge - COLOURS[kind]).max() < 60
        assert np.abs(edge - COLOURS[kind]).mean() < 20


def test_an_outline_is_centred_on_the_edge_of_the_finding() -> None:
    pair = Pair(raster(PICTURE), raster(np.zeros_like(PICTURE)), Registration("identity", 0, 1.0, 0.0))
    red = overlay(Assessment(Verdict(VerdictKind.NEW), (finding(box(30, 20, 80, 60)),), pair))[..., 0]
    line = np.clip(red.astype(float) - 0.3 * COLOURS["new"][0], 0, None)  # without the tint
    for profile, edge in ((line[10:30, 50], 10), (line[50:70, 50], 10), (line[40, 20:40], 10), (line[40, 70:90], 10)):
        centre = float((profile * (np.arange(20) + 0.5)).sum() / profile.sum())
        assert centre == pytest.approx(edge, abs=0.25)


def test_the_inside_is_tinted_and_stays_readable() -> None:
    inside = drawn(finding(box(30, 20, 80, 60)))[26:54, 36:74].astype(float)
    original = PICTURE[26:54, 36:74].astype(float)
    assert np.abs(inside - original).mean() > 10
    assert np.corrcoef(inside[..., 1].ravel(), original[..., 1].ravel())[0, 1] > 0.95


def test_the_rest_of_the_picture_is_untouched() -> None:
    picture = drawn(finding(box(30, 20, 80, 60)))
    outside = np.ones((120, 160), dtype=np.bool_)
    outside[17:63, 27:83] = False
    assert np.array_equal(picture[outside], PICTURE[outside])


def test_what_was_not_observed_is_hatched_and_can_still_be_seen() -> None:
    after = raster(PICTURE)
    after.valid[40:80, 50:120] = False
    picture = overlay(Assessment(Verdict(VerdictKind.NEW), (), Pair(raster(PICTURE), after, IDENTITY)))
    drawn_on = (picture != PICTURE).any(axis=2)
    assert 0.05 < drawn_on[40:80, 50:120].mean() < 0.5
    drawn_on[40:80, 50:120] = False
    assert not drawn_on.any()


def test_a_hole_is_not_tinted() -> None:
    frame = Polygon(box(20, 20, 100, 100).exterior, [box(40, 40, 80, 80).exterior])
    assert np.array_equal(drawn(finding(frame))[45:75, 45:75], PICTURE[45:75, 45:75])


def test_the_assessment_is_not_drawn_on() -> None:
    pair = Pair(raster(PICTURE), raster(PICTURE.copy()), Registration("identity", 0, 1.0, 0.0))
    overlay(Assessment(Verdict(VerdictKind.NEW), (finding(box(10, 10, 50, 50)),), pair))
    assert np.array_equal(pair.after.pixels, PICTURE)


def test_every_kind_has_a_colour_of_its_own() -> None:
    assert len({COLOURS[kind] for kind in KINDS}) == len(KINDS)


def test_a_refused_pair_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="refused"):
        overlay(Assessment(Verdict(VerdictKind.NOT_COMPARABLE)))


def test_a_png_is_lossless_and_in_the_right_colours() -> None:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(PICTURE)))), PICTURE)


def test_a_jpeg_is_in_the_right_colours_and_carries_no_metadata() -> None:
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 200
    with Image.open(io.BytesIO(encode_jpeg(red))) as image:
        assert np.abs(np.asarray(image).astype(int) - red).max() < 6
        assert not image.getexif()
    assert len(encode_jpeg(PICTURE, quality=40)) < len(encode_jpeg(PICTURE, quality=95))
