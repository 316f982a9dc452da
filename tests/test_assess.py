"""The one path from two pictures to a verdict: what is not seen is never clear, and every refusal says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from datasets.district import District, generate
from datasets.raster import Raster
from inference.assess import CLEAR_NEEDS_OBSERVED, MIN_OBSERVED, assess, score
from inference.findings import Assessment, VerdictKind
from inference.model import Model
from inference.registration import register
from tests.imagery import (
    MAGENTA,
    UTM,
    CloudyModel,
    MagentaModel,
    Pixels,
    built,
    ground,
    later,
    located,
    look,
    raster,
    relit,
)

SIDE = 256
NEW, REMAINING, REMOVED = (40, 30, 24, 24), (150, 60, 24, 24), (90, 180, 24, 24)
JUNE, SEPTEMBER = datetime(2017, 6, 30), datetime(2017, 9, 20)


def judged(before: Raster, after: Raster, **options: Any) -> Assessment:
    return assess(before, after, MagentaModel(), **options)  # type: ignore[arg-type]


def seen(*hidden: slice | tuple[slice, slice]) -> NDArray[np.bool_]:
    valid = np.ones((SIDE, SIDE), dtype=np.bool_)
    for part in hidden:
        valid[part] = False
    return valid


def codes(assessment: Assessment) -> list[str]:
    return [reason.code for reason in assessment.verdict.reasons]


def notes(assessment: Assessment) -> dict[str, dict[str, Any]]:
    return {reason.code: reason.values for reason in assessment.verdict.notes}


# --- Verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "verdict", "found"),
    [
        ((), (), "clear", []),
        ((REMOVED,), (), "clear", ["removed"]),
        ((REMAINING,), (REMAINING,), "remaining", ["remaining"]),
        ((REMAINING, REMOVED), (REMAINING,), "remaining", ["remaining", "removed"]),
        ((), (NEW,), "new", ["new"]),
        ((REMAINING, REMOVED), (REMAINING, NEW), "new", ["new", "remaining", "removed"]),
    ],
)
def test_new_outranks_remaining_and_remaining_outranks_clear(
    before: tuple[Any, ...], after: tuple[Any, ...], verdict: str, found: list[str]
) -> None:
    result = judged(raster(look(*before)), raster(later(*after)))
    assert result.verdict.kind == verdict
    assert [finding.kind for finding in result.findings] == found
    assert result.verdict.reasons == ()
    assert result.verdict.observed_share == 1


def test_findings_lie_where_the_blocks_are() -> None:
    result = judged(located(look(REMAINING)), located(later(REMAINING, NEW)))
    new, remaining = result.findings
    assert new.polygon.bounds == (40, 30, 64, 54)
    assert remaining.polygon.bounds == (150, 60, 174, 84)
    assert new.area_m2 == pytest.approx(24 * 24 / 4, rel=1e-3)
    assert new.probability == pytest.approx(0.9, abs=0.01)


def test_swapping_the_dates_swaps_the_findings() -> None:
    first, second = raster(look(REMAINING, REMOVED)), raster(later(REMAINING, NEW))
    there, back = judged(first, second), judged(second, first)
    turned = {"new": "removed", "removed": "new", "remaining": "remaining"}
    assert {(f.kind, f.polygon.bounds) for f in there.findings} == {
        (turned[f.kind], f.polygon.bounds) for f in back.findings
    }


def test_the_verdict_names_the_model() -> None:
    for after in (later(), look()):  # judged and refused
        verdict = judged(raster(look()), raster(after)).verdict
        assert (verdict.model_name, verdict.model_version, verdict.model_sha256) == ("magenta", "1", "0" * 64)


def test_progress_goes_through_all_stages_in_order() -> None:
    stages: list[tuple[str, float]] = []
    judged(raster(look()), raster(later()), progress=lambda stage, share: stages.append((stage, share)))
    assert list(dict(stages)) == ["compare", "register", "score", "vectorise"]
    assert ("score", 1.0) in stages


# --- Not observed is not clear ----------------------------------------------------------------------------


def test_nothing_found_in_a_half_seen_area_is_not_clear() -> None:
    result = judged(raster(look()), raster(later(), seen(np.s_[:, 128:])))
    assert result.verdict.kind == VerdictKind.NOT_COMPARABLE
    assert codes(result) == ["nodata"]
    assert result.verdict.reasons[0].values == {"observed_percent": 50.0}
    assert result.verdict.observed_share == 0.5
    assert result.pair is not None


def test_a_finding_in_a_half_seen_area_stands() -> None:
    result = judged(raster(look()), raster(later(NEW), seen(np.s_[:, 128:])))
    assert result.verdict.kind == VerdictKind.NEW
    assert notes(result)["partly_observed"] == {"unobserved_percent": 50.0}


def test_what_is_removed_in_a_half_seen_area_does_not_make_it_clear() -> None:
    result = judged(raster(look(REMOVED)), raster(later(), seen(np.s_[:100])))
    assert [finding.kind for finding in result.findings] == ["removed"]
    assert result.verdict.kind == VerdictKind.NOT_COMPARABLE


@pytest.mark.parametrize(("hidden_rows", "verdict"), [(12, "clear"), (14, "not_comparable")])
def test_clear_needs_nearly_everything_seen(hidden_rows: int, verdict: str) -> None:
    assert 12 / SIDE < 1 - CLEAR_NEEDS_OBSERVED < 14 / SIDE
    result = judged(raster(look()), raster(later(), seen(np.s_[:hidden_rows])))
    assert result.verdict.kind == verdict


def test_hardly_anything_seen_is_refused_whatever_is_found() -> None:
    first, second = seen(np.s_[:, :120]), seen(np.s_[:120])
    share = (136 / SIDE) ** 2
    assert share > MIN_OBSERVED
    assert judged(raster(look(), first), raster(later((200, 200, 30, 30)), second)).verdict.kind == "new"
    narrow = seen(np.s_[:, :200])
    result = judged(raster(look(), narrow), raster(later((210, 200, 30, 30)), narrow))
    assert (result.verdict.kind, codes(result)) == ("not_comparable", ["nodata"])
    assert result.findings == ()


def test_what_lies_in_the_unseen_part_is_not_found() -> None:
    result = judged(raster(look()), raster(later(NEW), seen(np.s_[:80, :80])))
    assert result.findings == ()


def test_layers_are_zero_where_nothing_was_seen() -> None:
    valid = seen(np.s_[:, 128:])
    layers = judged(raster(look()), raster(later(NEW), valid)).layers
    assert layers is not None
    for layer in (layers.structure_before, layers.structure_after, layers.change):
        assert layer.shape == (SIDE, SIDE)
        assert not layer[~valid].any()
        assert layer[valid].min() > 0


def test_the_model_never_sees_the_colour_of_nodata() -> None:
    """Black or magenta, what was not seen must not look like a structure next to what was."""
    given: list[Pixels] = []

    class Watching(MagentaModel):
        def probabilities(self, before: Pixels, after: Pixels) -> NDArray[np.float32]:
            given.append(after)
            return super().probabilities(before, after)

    valid = seen(np.s_[:, 160:])
    after = later()
    after[~valid] = MAGENTA
    assess(raster(look()), raster(after, valid), Watching())  # type: ignore[arg-type]
    unseen = given[0][0][:, :SIDE, 160:SIDE].reshape(3, -1)
    assert np.ptp(unseen, axis=1).max() == 0
    assert unseen[:, 0] == pytest.approx(after[valid].mean(axis=0), abs=1)


# --- Clouds ---------------------------------------------------------------------------------------------


def clouded(pixels: Pixels, *covers: tuple[int, int, int, int]) -> Pixels:
    """White at (x, y, width, height), which `CloudyModel` takes for cloud."""
    pixels = pixels.copy()
    for x, y, width, height in covers:
        pixels[y : y + height, x : x + width] = 255
    return pixels


def through(before: Pixels, after: Pixels) -> Assessment:
    return assess(raster(before), raster(after), CloudyModel())  # type: ignore[arg-type]


def test_a_structure_under_a_cloud_is_neither_removed_nor_clear() -> None:
    x, y, width, height = REMOVED
    cloud = (x - 12, y - 12, width + 40, height + 40)
    gone = through(look(REMOVED), later())
    assert [f.kind for f in gone.findings] == ["removed"]
    result = through(look(REMOVED), clouded(later(), cloud))
    assert result.findings == ()
    assert result.verdict.kind == VerdictKind.NOT_COMPARABLE
    hidden = (width + 40 + 16) * (height + 40 + 16) / SIDE**2
    assert result.verdict.observed_share == pytest.approx(1 - hidden, abs=1e-3)
    assert notes(result)["cloud"] == {"side": "after", "cloud_percent": round(100 * hidden)}
    assert "partly_observed" in notes(result)


def test_what_lies_beside_a_cloud_is_still_found_and_both_dates_are_looked_at() -> None:
    result = through(clouded(look(), (180, 180, 60, 60)), later(NEW))
    assert [f.kind for f in result.findings] == ["new"]
    assert notes(result)["cloud"]["side"] == "before"
    assert result.pair is not None
    assert not result.pair.before.valid[200, 200]
    assert result.pair.after.valid.all()


def test_under_much_cloud_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.assess.MIN_OBSERVED", 0.9)
    result = through(look(), clouded(later(NEW), (10, 150, 200, 90)))
    assert (result.verdict.kind, codes(result)) == ("not_comparable", ["cloud"])
    assert result.findings == ()
    assert result.layers is None


# --- Refusals ---------------------------------------------------------------------------------------------


def _blurred(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 5), dtype=np.uint8)


FAR = Affine(0.5, 0, UTM.c + 9000, 0, -0.5, UTM.f)


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("too_small", raster(look()[:50]), raster(later())),
        ("too_dark", raster(look()), raster((later() * 0.1).astype(np.uint8))),
        ("too_bright", raster(np.full_like(look(), 250)), raster(later())),
        ("too_blurred", raster(look()), raster(_blurred(later()))),
        ("nodata", raster(look(), seen(np.s_[:])), raster(later())),
        ("same_image", raster(look()), raster(look())),
        ("wrong_order", raster(look(), captured_at=SEPTEMBER), raster(later(), captured_at=JUNE)),
        ("no_overlap", raster(look()), raster(ground(2))),
        ("no_overlap", located(look()), located(later(), transform=FAR)),
        ("misregistered", located(look()), located(np.roll(later(), 20, axis=1))),
        ("resolution_mismatch", raster(look(), gsd=0.3), raster(later(), gsd=1.5)),
        ("gsd_out_of_range", raster(look(), gsd=2.0), raster(later(), gsd=2.0)),
        ("gsd_out_of_range", raster(look(), gsd=0.5), raster(later(), gsd=1.5)),
        ("gsd_out_of_range", raster(look(), gsd=0.02), raster(later(), gsd=0.02)),
    ],
)
def test_every_refusal_reaches_the_verdict(code: str, before: Raster, after: Raster) -> None:
    result = judged(before, after)
    assert result.verdict.kind == VerdictKind.NOT_COMPARABLE
    assert codes(result) == [code]
    assert result.findings == ()
    assert result.layers is None
    for language in ("zh", "en"):
        assert result.verdict.reasons[0].say(language)
        assert result.verdict.reasons[0].remedy(language)


def test_problems_of_both_pictures_are_told_at_once() -> None:
    result = judged(raster(np.zeros_like(look())), raster(_blurred(later())))
    assert [(r.code, r.values["side"]) for r in result.verdict.reasons] == [
        ("too_dark", "before"),
        ("too_blurred", "after"),
    ]


# --- Notes ------------------------------------------------------------------------------------------------


def test_a_plain_pair_is_noted_to_lack_resolution_and_dates() -> None:
    assert set(notes(judged(raster(look()), raster(later())))) == {"no_gsd", "no_dates"}


def test_a_pair_with_everything_has_no_notes() -> None:
    before, after = located(look(), captured_at=JUNE), located(later(), captured_at=SEPTEMBER)
    assert notes(judged(before, after)) == {}


def test_a_gray_picture_is_noted_with_its_side() -> None:
    gray = np.repeat(later()[..., 1:2], 3, axis=2)
    assert notes(judged(raster(look()), raster(gray)))["grayscale"] == {"side": "after"}


def test_a_picture_fitted_onto_the_first_is_noted() -> None:
    wide = built(ground(1, 300), (200, 200, 40, 30))
    before, after = raster(wide[:SIDE, :SIDE].copy()), raster(relit(wide)[20 : SIDE + 20, :SIDE].copy())
    assert notes(judged(before, after))["resampled"]["model"] == "similarity"


# --- Scale ------------------------------------------------------------------------------------------------


class Sized(MagentaModel):
    """Remembers the sizes that it was given."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def probabilities(self, before: Pixels, after: Pixels) -> NDArray[np.float32]:
        self.sizes.append((before.shape[2], before.shape[3]))
        return super().probabilities(before, after)


@pytest.mark.parametrize(
    ("gsd", "side"),
    [(None, 256), (1.2, 256), (0.4, 256), (0.25, 160), (0.075, 64)],
    ids=["unknown", "coarse", "finest", "finer", "small"],
)
def test_what_is_finer_is_scored_coarser_as_long_as_enough_pixels_are_left(gsd: float | None, side: int) -> None:
    model = Sized()
    pair = register(raster(look(REMAINING), gsd=gsd), raster(later(REMAINING, NEW), gsd=gsd))
    _, layers = score(pair, model)  # type: ignore[arg-type]
    assert set(model.sizes) == {(side, side)}
    assert layers.change.shape == (SIDE, SIDE)
    assert layers.change[34:50, 44:60].min() > 0.6
    assert layers.change[64:80, 154:170].max() < 0.4


def test_findings_at_a_finer_scale_keep_their_size() -> None:
    result = judged(raster(look(), gsd=0.25), raster(later(NEW), gsd=0.25))
    (finding,) = result.findings
    assert finding.area_m2 == pytest.approx(24 * 24 / 16, rel=0.1)


# --- The released weights ---------------------------------------------------------------------------------


@cache
def district() -> District:
    return generate(27, size=SIDE)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(threads=1)


def test_the_released_weights_see_the_same_in_either_direction(model: Model) -> None:
    first, second = (replace(r, captured_at=None) for r in (district().before, district().after))
    there, back = assess(first, second, model), assess(second, first, model)
    turned = {"new": "removed", "removed": "new", "remaining": "remaining"}
    assert len(there.findings) > 0
    assert {(f.kind, f.polygon.wkt) for f in there.findings} == {(turned[f.kind], f.polygon.wkt) for f in back.findings}


def test_the_released_weights_put_findings_on_the_map(model: Model) -> None:
    result = assess(district().before, district().after, model)
    assert result.verdict.kind in ("new", "remaining", "clear")
    assert result.verdict.model_sha256 == model.sha256
    for finding in result.findings:
        assert finding.lonlat is not None
        assert finding.area_m2 == pytest.approx(finding.area_px * 0.25, rel=2e-3)
        assert 0 < finding.probability <= 1


def test_the_released_weights_are_not_asked_about_two_places(model: Model) -> None:
    other = generate(28, size=SIDE).after
    first, second = (replace(r, crs=None, transform=None, gsd=None) for r in (district().before, other))
    assert codes(assess(first, second, model)) == ["no_overlap"]
