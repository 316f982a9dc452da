"""Any two pictures: the kind decides which weights see them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import cv2
import numpy as np
import pytest
from shapely.geometry import box, mapping

from datasets.raster import Raster
from inference.compare import Asked, compare
from inference.findings import Assessment, PictureKind
from inference.model import Model, ModelError
from inference.report import report
from inference.site import Site
from tests.imagery import MAGENTA, MagentaModel, Pixels, StreetModel, later, look, raster
from tests.street import from_elsewhere, street

HOUSE, SHED = (150, 150, 90, 70), (330, 200, 80, 60)


def with_blocks(pixels: Pixels, *blocks: tuple[int, int, int, int]) -> Pixels:
    result = pixels.copy()
    for x, y, width, height in blocks:
        result[y : y + height, x : x + width] = MAGENTA
    return result


STANDING = with_blocks(street(3), HOUSE)
CLEARED = from_elsewhere(street(3))


def models(kind: PictureKind) -> Model:
    return StreetModel() if kind == "photos" else MagentaModel()  # type: ignore[return-value]


def without_photographs(kind: PictureKind) -> Model:
    if kind == "photos":
        raise ModelError("cannot read the weights")
    return models(kind)


def photographs(before: Pixels | Raster, after: Pixels | Raster, **asked: object) -> Assessment:
    first, second = (x if isinstance(x, Raster) else raster(x) for x in (before, after))
    return compare(first, second, models, Asked("photos", **asked))  # type: ignore[arg-type]


def reasons(assessment: Assessment) -> list[str]:
    return [reason.code for reason in assessment.verdict.reasons]


def notes(assessment: Assessment) -> list[str]:
    return [note.code for note in assessment.verdict.notes]


def test_photographs_are_seen_by_the_weights_for_photographs() -> None:
    result = photographs(STANDING, CLEARED)
    assert (result.kind, result.verdict.model_name) == ("photos", "street")
    assert [f.kind for f in result.findings] == ["removed"]
    assert result.views is not None
    assert result.views[0].common is not None
    assert result.views[0].common["structure"] > 0.02


def test_what_still_stands_and_what_is_new_is_said_of_photographs() -> None:
    moved = from_elsewhere(with_blocks(street(3), HOUSE, SHED))
    moved[(moved[..., 0] > 160) & (moved[..., 1] < 60) & (moved[..., 2] > 160)] = MAGENTA
    result = photographs(STANDING, moved)
    assert sorted(f.kind for f in result.findings) == ["new", "remaining"]
    assert result.verdict.kind == "new"


def test_photographs_say_by_which_standard_and_what_was_not_assessed() -> None:
    assert {"standard_applied", "not_assessed"} <= set(notes(photographs(STANDING, CLEARED)))


def test_a_photograph_has_no_square_metres() -> None:
    result = photographs(raster(STANDING, gsd=0.5), raster(CLEARED, gsd=0.5))
    assert [f.area_m2 for f in result.findings] == [None]


def test_overhead_imagery_is_seen_by_its_own_weights() -> None:
    result = compare(raster(look()), raster(later((40, 30, 24, 24))), models)
    assert (result.kind, result.verdict.model_name, result.verdict.kind) == ("overhead", "magenta", "new")


def test_the_kind_can_be_forced() -> None:
    assert compare(raster(STANDING), raster(CLEARED), models, Asked("overhead")).verdict.model_name == "magenta"
    assert photographs(look(), later((40, 30, 24, 24))).kind == "photos"


def test_without_weights_for_photographs_photographs_are_refused_and_say_so() -> None:
    result = compare(raster(STANDING), raster(CLEARED), without_photographs)
    assert (result.kind, result.verdict.kind, reasons(result)) == ("photos", "not_comparable", ["no_photo_weights"])
    assert report(result)["kind"] == "photos"
    assert compare(raster(look()), raster(later()), without_photographs).verdict.kind == "clear"


def test_without_weights_for_overhead_imagery_nothing_is_compared() -> None:
    def none(kind: PictureKind) -> Model:
        raise ModelError("damaged")

    with pytest.raises(ModelError):
        compare(raster(look()), raster(later()), none)


def test_a_kind_that_was_guessed_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.domain.looks", lambda *_: 0.5)
    assert "kind_guessed" in notes(compare(raster(STANDING), raster(CLEARED), models))
    assert "kind_guessed" not in notes(photographs(STANDING, CLEARED))
    assert "kind_guessed" not in notes(compare(raster(look(), gsd=0.5), raster(later(), gsd=0.5), models))


# --- Refused ----------------------------------------------------------------------------------------------


def test_another_place_is_refused() -> None:
    assert reasons(photographs(STANDING, street(9))) == ["no_overlap"]


def test_a_mirrored_photograph_is_refused() -> None:
    assert reasons(photographs(STANDING, CLEARED[:, ::-1].copy())) == ["mirrored"]


def test_one_photograph_cut_and_saved_again_is_refused() -> None:
    cut = cv2.imencode(".jpg", STANDING[15:370, 20:500], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    assert reasons(photographs(STANDING, np.ascontiguousarray(cv2.imdecode(cut, 1)))) == ["same_photo"]


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ((CLEARED * 0.05).astype(np.uint8), "too_dark"),
        (cv2.GaussianBlur(CLEARED, (0, 0), 5), "too_blurred"),
        (CLEARED[:40, :40].copy(), "too_small"),
        (CLEARED[:160].copy(), "panorama"),
    ],
    ids=["dark", "blurred", "small", "panorama"],
)
def test_what_cannot_be_judged_is_refused_with_its_reason(after: Pixels, code: str) -> None:
    assert reasons(photographs(STANDING, after)) == [code]


def test_the_later_one_first_is_refused() -> None:
    days = [raster(x, captured_at=datetime(2026, 5, day)) for x, day in ((STANDING, 2), (CLEARED, 1))]
    assert reasons(photographs(*days)) == ["wrong_order"]


def test_a_photograph_from_elsewhere_is_refused() -> None:
    site = Site.parse(json.dumps(mapping(box(116.180, 39.910, 116.182, 39.911))))
    away = raster(CLEARED, place=(116.3, 39.9105))
    assert reasons(photographs(STANDING, away, site=site)) == ["far_from_site"]
    assert reasons(photographs(STANDING, away)) == []
    shifted = raster(CLEARED, place=(116.1872, 39.9119))
    result = photographs(STANDING, shifted, site=site)
    assert (reasons(result), "gcj02_suspected" in notes(result)) == ([], True)


@pytest.mark.parametrize("upright_first", [True, False])
def test_upright_and_lying_photographs_of_one_place_are_compared(upright_first: bool) -> None:
    upright = np.ascontiguousarray(CLEARED[:, 100:400])
    pair = (raster(upright), raster(STANDING)) if upright_first else (raster(STANDING), raster(upright))
    result = photographs(*pair)
    assert result.pair is not None
    assert result.pair.before.pixels.shape == pair[0].pixels.shape
    assert reasons(result) in ([], ["little_in_common"])


def test_a_large_photograph_is_judged_at_its_working_size() -> None:
    large = cv2.resize(STANDING, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(large + np.random.default_rng(0).normal(0, 6, large.shape), 0, 255).astype(np.uint8)
    result = photographs(replace(raster(noisy), name="large"), raster(CLEARED))
    assert result.pair is not None
    assert max(result.pair.before.pixels.shape) == 1600
