"""Two photographs: what they show, where they look at the same, and what the standard makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import inference
from datasets.photographs import CLASSES
from datasets.raster import Raster
from inference.findings import Assessment, VerdictKind
from inference.model import Contract
from inference.pair import Pair, Registration
from inference.photographs import assess_photographs, reduced, standard
from inference.reasons import Reason
from inference.registration import NotComparable
from inference.report import report
from model import OUTPUTS
from tests.imagery import ground, relit

Pixels = NDArray[np.uint8]
H, W = 192, 256
COLOURS = {"structure": (255, 0, 255), "sky": (0, 255, 255), "other": (255, 255, 0), "vegetation": (0, 255, 0)}


class PaintedModel:
    """Stands in for released weights: pure colours are classes, everything else is ground."""

    name, version, sha256 = "painted", "1", "0" * 64
    contract = Contract(
        multiple_of=16, gsd_range_m=None, temperature=dict.fromkeys(OUTPUTS, 1.0),
        threshold=dict.fromkeys(OUTPUTS, 0.5), change_peak=0.5, change_mean=0.0,
        area_error_px=0.5, long_side=128, classes=CLASSES,
    )  # fmt: skip

    def classes(self, before: Pixels, after: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert before.shape[-1] == 128
        assert before.shape[-2] % 16 == 0
        dates = np.stack([self._date(before[0]), self._date(after[0])])
        first, second = dates[:, 0] > 0.5
        probabilities = np.stack([first, second, first ^ second]).astype(np.float32) * 0.8 + 0.1
        return probabilities[None], dates[None]

    def _date(self, image: Pixels) -> NDArray[np.float32]:
        high, low = image > 150, image < 110
        out = np.zeros((len(CLASSES), *image.shape[1:]), dtype=np.float32)
        for name, colour in COLOURS.items():
            match = [high[i] if value else low[i] for i, value in enumerate(colour)]
            out[CLASSES.index(name)] = np.logical_and.reduce(match)
        out[1] = 1 - out.sum(axis=0)
        return out


def photograph(**blocks: tuple[slice, slice]) -> Raster:
    pixels = ground(1, H, W).copy()
    for name, where in blocks.items():  # not quite flat: pictures without any grain are refused
        grain = 0.3 * (pixels[where].astype(np.float64) - 110)
        pixels[where] = np.clip(np.array(COLOURS[name]) * 0.75 + 20 + grain, 0, 255)
    return Raster(pixels, np.ones((H, W), dtype=bool))


def taken_later(raster: Raster) -> Raster:
    return Raster(relit(raster.pixels, 3), raster.valid)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs that lie on each other as they are; registration has tests of its own."""
    share(monkeypatch, 1.0)


def share(monkeypatch: pytest.MonkeyPatch, common: float) -> None:
    def register(before: Raster, after: Raster, domain: str) -> Pair:
        assert domain == "ground"
        valid = after.valid.copy()
        valid[:, round(common * W) :] = False
        seen = Raster(after.pixels, valid)
        return Pair(before, seen, Registration("homography", 80, common, 0.7))

    monkeypatch.setattr("inference.photographs.register", register)


def compared(before: Raster, after: Raster) -> Assessment:
    return assess_photographs(before, taken_later(after), PaintedModel())  # type: ignore[arg-type]


def codes(reasons: tuple[Reason, ...]) -> set[str]:
    return {reason.code for reason in reasons}


SHED = np.s_[60:120, 40:140]
HUT = np.s_[130:170, 180:240]


@pytest.mark.usefixtures("fitted")
def test_a_structure_that_appears_is_new() -> None:
    result = compared(photograph(), photograph(structure=SHED))
    assert result.verdict.kind is VerdictKind.NEW
    assert [f.kind for f in result.findings] == ["new"]
    assert result.findings[0].area_px == pytest.approx(60 * 100, rel=0.15)
    assert result.findings[0].area_m2 is None


@pytest.mark.usefixtures("fitted")
def test_a_structure_that_stands_at_both_dates_remains() -> None:
    result = compared(photograph(structure=SHED), photograph(structure=SHED))
    assert result.verdict.kind is VerdictKind.REMAINING
    assert [f.kind for f in result.findings] == ["remaining"]
    assert "neighbours_counted" in codes(result.verdict.notes)


@pytest.mark.usefixtures("fitted")
def test_cleared_ground_is_clear_and_says_what_was_not_assessed() -> None:
    result = compared(photograph(structure=SHED), photograph())
    assert result.verdict.kind is VerdictKind.CLEAR
    assert [f.kind for f in result.findings] == ["removed"]
    assert {"standard_applied", "not_assessed"} <= codes(result.verdict.notes)


@pytest.mark.usefixtures("fitted")
def test_what_is_new_outranks_what_is_gone() -> None:
    result = compared(photograph(structure=SHED), photograph(structure=HUT))
    assert result.verdict.kind is VerdictKind.NEW
    assert {f.kind for f in result.findings} == {"new", "removed"}


@pytest.mark.usefixtures("fitted")
def test_between_the_two_shares_a_person_looks() -> None:
    third = np.s_[60:90, 40:90]  # 3 % of the view
    result = compared(photograph(structure=third), photograph(structure=third))
    assert result.verdict.kind is VerdictKind.NOT_COMPARABLE
    assert codes(result.verdict.reasons) == {"undecided"}


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize(
    "hiding", [{"sky": np.s_[: int(H * 0.9)]}, {"other": np.s_[H // 2 :]}], ids=["sky fills it", "vehicles hide it"]
)
def test_ground_that_is_not_seen_is_never_clear(hiding: dict[str, tuple[slice, slice]]) -> None:
    result = compared(photograph(), photograph(**hiding))
    assert result.verdict.kind is VerdictKind.NOT_COMPARABLE
    assert codes(result.verdict.reasons) == {"ground_hidden"}


@pytest.mark.parametrize(("common", "kind"), [(0.2, "not_comparable"), (0.5, "not_comparable"), (0.7, "clear")])
def test_little_in_common_is_never_clear(common: float, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    share(monkeypatch, common)
    result = compared(photograph(structure=np.s_[60:100, 4:44]), photograph())
    assert result.verdict.kind.value == kind
    assert result.verdict.observed_share == pytest.approx(common, abs=0.01)
    if kind == "not_comparable":
        assert codes(result.verdict.reasons) == {"little_in_common"}


def test_what_lies_outside_of_the_common_view_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    share(monkeypatch, 0.6)
    right = np.s_[:, 200:]
    before, after = compared(photograph(structure=right), photograph()).views or ()
    assert before.common == pytest.approx({**dict.fromkeys(CLASSES, 0.0), "ground": 1.0}, abs=0.02)
    assert (before.outside or {})["structure"] == pytest.approx(56 / 102, abs=0.05)
    assert after.outside is None
    assert (after.whole or {})["ground"] == pytest.approx(1.0, abs=0.01)


def test_where_the_later_photograph_does_not_reach_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    share(monkeypatch, 0.7)
    edge = np.s_[:, round(0.7 * W) :]
    dark = photograph()
    after = Raster(dark.pixels.copy(), dark.valid)
    after.pixels[edge] = COLOURS["structure"]  # what a black edge is to the real weights
    assert compared(photograph(), after).findings == ()


def test_photographs_that_do_not_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(before: Raster, after: Raster, domain: str) -> Pair:
        raise NotComparable(Reason("no_overlap"))

    monkeypatch.setattr("inference.photographs.register", refuse)
    result = compared(photograph(), photograph())
    assert result.verdict.kind is VerdictKind.NOT_COMPARABLE
    assert codes(result.verdict.reasons) == {"no_overlap"}
    assert result.findings == ()


def test_a_photograph_at_night_is_refused_before_anything_else() -> None:
    dark = Raster((photograph().pixels * 0.05).astype(np.uint8), np.ones((H, W), dtype=bool))
    result = assess_photographs(photograph(), dark, PaintedModel())  # type: ignore[arg-type]
    assert codes(result.verdict.reasons) == {"too_dark"}


@pytest.mark.usefixtures("fitted")
def test_the_report_carries_the_shares() -> None:
    views = report(compared(photograph(structure=SHED), photograph()))["views"]
    assert views[0]["common"]["structure"] == pytest.approx(6000 / (H * W), rel=0.1)
    assert views[1]["common"]["structure"] == 0


def test_large_photographs_are_reduced_and_small_ones_left_alone() -> None:
    large = Raster(np.zeros((300, 400, 3), np.uint8), np.ones((300, 400), dtype=bool), name="a.jpg", gsd=0.1)
    small = reduced(large, 100)
    assert (small.width, small.height, small.name) == (100, 75, "a.jpg")
    assert small.gsd is None  # a pixel of it is no longer what the file says
    assert np.shares_memory(reduced(small, 100).pixels, small.pixels)


def test_the_written_standard_and_its_figures_have_one_version() -> None:
    page = (Path(inference.__file__).parent / "standard" / "site_cleared.md").read_text("utf-8")
    rules = standard()
    assert f"Version {rules.version}." in page
    assert f"{rules.structure_least:.0%}".replace("%", " %") in page
    assert f"{rules.structure_most:.0%}".replace("%", " %") in page
    assert f"{rules.least_view_for_clear:.0%}".replace("%", " %") in page
    assert 0 < rules.structure_most < rules.structure_least < 1
