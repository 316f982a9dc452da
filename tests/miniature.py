"""Labelled sets in miniature, in the folder layouts of the real ones: a few small tiles of bright blocks on soil."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import Polygon, box

from datasets.feedback import Decision, ReviewedPair, write_feedback
from datasets.raster import Raster
from training.recipe import Recipe

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LEVIR_TRAIN = ("test_1", "test_2", "test_9", "test_15", "test_18")
LEVIR_VALIDATION = ("test_10", "test_14", "test_17")
NODATA = 16
"""Width of the black border on the left of the first training tile of `xbd_mexico`, after; whole JPEG blocks."""


def blocks(rng: np.random.Generator, size: int, count: int) -> Mask:
    """Rectangles of 12 to 24 pixels a side, clear of the border."""
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(count):
        h, w = (int(v) for v in rng.integers(12, 25, 2))
        top, left = int(rng.integers(4, size - h - 4)), int(rng.integers(4, size - w - 4))
        mask[top : top + h, left : left + w] = True
    return mask


def picture(rng: np.random.Generator, structures: Mask) -> Pixels:
    """Bright roofs where there are structures, brownish soil elsewhere, both with some grain."""
    soil, roof = np.array([105, 95, 70]), np.array([205, 200, 210])
    colours = np.where(structures[..., None], roof, soil)
    return np.clip(colours + rng.normal(0, 8, colours.shape), 20, 255).astype(np.uint8)


def _save_image(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)


def _save_mask(mask: Mask, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def write_levir(folder: Path, size: int = 96) -> None:
    """Growth only: every tile gains two blocks beside those that stood before."""
    for i, name in enumerate((*LEVIR_TRAIN, *LEVIR_VALIDATION)):
        rng = np.random.default_rng(i)
        stood = blocks(rng, size, 2)
        grown = blocks(rng, size, 2) & ~stood
        _save_image(picture(rng, stood), folder / "before" / f"{name}.jpg")
        _save_image(picture(rng, stood | grown), folder / "after" / f"{name}.jpg")
        _save_mask(grown, folder / "changed" / f"{name}.png")


def write_structure_pairs(folder: Path, names: list[str], size: int = 96, *, border: str = "") -> None:
    """Nothing changes, but roofs lean: the later mask is the earlier one moved by two pixels."""
    for i, name in enumerate(names):
        rng = np.random.default_rng(100 + i)
        before = blocks(rng, size, 3)
        after = np.roll(before, 2, axis=1)
        images = {"before": picture(rng, before), "after": picture(rng, after)}
        if name == border:
            images["after"][:, :NODATA] = 0
        for date, mask in (("before", before), ("after", after)):
            _save_image(images[date], folder / date / f"{name}.jpg")
            _save_mask(mask, folder / f"structures_{date}" / f"{name}.png")


def write_single_dates(folder: Path, names: list[str], size: int = 96) -> None:
    for i, name in enumerate(names):
        rng = np.random.default_rng(200 + i)
        mask = blocks(rng, size, 3)
        _save_image(picture(rng, mask), folder / "image" / f"{name}.jpg")
        _save_mask(mask, folder / "structures" / f"{name}.png")


def write_sets(root: Path) -> Path:
    """Every set gathered for this project; except for `levir_cd` the first name and every fifth after it
    are for validation."""
    write_levir(root / "levir_cd")
    mexico = [f"mexico-earthquake_{i:08d}" for i in range(6)]
    write_structure_pairs(root / "xbd_mexico", mexico, border=mexico[1])
    write_structure_pairs(root / "xbd_other", ["guatemala-volcano_00000003", "hurricane-harvey_00000001"], 128)
    write_structure_pairs(root / "ida", ["AOI1", "AOI2"])
    write_single_dates(root / "banepa", ["tile_00", "tile_01", "tile_02"])
    write_single_dates(root / "dubai_coarse", ["t1_part_1", "t1_part_2"])
    return root


# Sets in the layouts in which they are published. Every scene has the same ground: one building comes, one goes and
# one stays, land of another sort changes, and the lower edge of the later date was not seen.

SIZE = 64
NEW, GONE, STOOD = box(8, 8, 24, 24), box(36, 36, 52, 52), box(36, 8, 52, 24)
LAND = box(8, 36, 24, 52)
"""Land that changes; facades in BANDON, a building nobody could assess in xBD. All in pixels x, y."""
UNSEEN = 8
"""Height of the black strip below, whole JPEG blocks."""
_BLUE, _RED, _WHITE = (0, 0, 255), (255, 0, 0), (255, 255, 255)
_BUILDING, _TREES, _GROUND = (128, 0, 0), (0, 255, 0), (128, 128, 128)

PUBLISHED = {
    "levir_cd_plus": ([f"train_{i}" for i in range(1, 9)], ["train_10", "train_9"]),
    "whu_cd": (["tile_0_0", "tile_0_1"], ["tile_1_0"]),
    "s2looking": (["10", "11"], ["12"]),
    "sysu_cd": (["00001", "00002"], ["00003"]),
    "second": (["00021", "00022", "00023", "00024"], ["00020"]),
    "xbd": (["santa-rosa-wildfire_00000001", "tuscaloosa-tornado_00000007"], ["mexico-earthquake_00000002"]),
    "fotbcd": (["1", "2"], ["3"]),
    "bandon": (["bj_t1VSt2_L81_1_1", "bj_t1VSt3_L81_1_1", "bj_t2VSt3_L81_1_1"], ["sh_t1VSt2_L81_2_2"]),
    "feedback": (["pair-0", "pair-1"], ["pair-2"]),
}
"""Source -> names that train, names that validate. Parts for testing are written too and must not turn up."""
SITES = ("site-3", "site-4", "site-0")
"""Of the pairs of `feedback`: the hash of the last one falls into validation."""


def inside(*areas: Polygon) -> Mask:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    for area in areas:
        left, top, right, bottom = (int(v) for v in area.bounds)
        mask[top:bottom, left:right] = True
    return mask


def coloured(colours: Mapping[Polygon, tuple[int, int, int]], ground: tuple[int, int, int] = (0, 0, 0)) -> Pixels:
    pixels = np.full((SIZE, SIZE, 3), ground, dtype=np.uint8)
    for area, colour in colours.items():
        pixels[inside(area)] = colour
    return pixels


def date(*structures: Polygon, unseen: bool = False) -> Pixels:
    pixels = picture(np.random.default_rng(len(structures)), inside(*structures))
    if unseen:
        pixels[-UNSEEN:] = 0
    return pixels


def write_published_scene(folders: Mapping[str, Path], name: str, suffix: str = ".png", **labels: Pixels) -> None:
    """Imagery into the folders `before` and `after`, every label as PNG into that of its keyword."""
    _save_image(date(GONE, STOOD), folders["before"] / f"{name}{suffix}")
    _save_image(date(NEW, STOOD, unseen=True), folders["after"] / f"{name}{suffix}")
    for layer, pixels in labels.items():
        _save_image(pixels, folders[layer] / f"{name}.png")


def _grey(mask: Mask, value: int = 255) -> Pixels:
    return mask.astype(np.uint8) * np.uint8(value)


def _parts(source: str, validation: str = "val") -> dict[str, list[str]]:
    train, held = PUBLISHED[source]
    return {"train": train, validation: held, "test": ["never"]}


def write_masked(folder: Path, layers: tuple[str, str, str], parts: Mapping[str, list[str]], mask: Mask) -> None:
    for part, names in parts.items():
        folders = dict(zip(("before", "after", "change"), (folder / part / layer for layer in layers), strict=True))
        for name in names:
            write_published_scene(folders, name, change=_grey(mask))


def write_whu(folder: Path) -> None:
    """Pre-cut tiles, one folder a layer, with lists."""
    parts = _parts("whu_cd")
    for part, names in parts.items():
        write_masked(folder, ("A", "B", "label"), {"": names}, inside(NEW, GONE))
        (folder / "list").mkdir(exist_ok=True)
        (folder / "list" / f"{part}.txt").write_text("".join(f"{name}.png\n" for name in names))


def write_s2looking(folder: Path) -> None:
    layers = {"before": "Image1", "after": "Image2", "either": "label", "built": "label1", "demolished": "label2"}
    for part, names in _parts("s2looking").items():
        for name in names:
            write_published_scene(
                {layer: folder / part / sub for layer, sub in layers.items()}, name, either=_grey(inside(NEW, GONE)),
                built=coloured({NEW: _RED}), demolished=coloured({GONE: _BLUE}),
            )  # fmt: skip


def write_second(folder: Path) -> None:
    train, held = PUBLISHED["second"]
    layers = {"before": "im1", "after": "im2", "was": "label1", "became": "label2"}
    for part, names in {"train": train + held, "test": ["never"]}.items():
        for name in names:
            write_published_scene(
                {layer: folder / part / sub for layer, sub in layers.items()}, name,
                was=coloured({NEW: _GROUND, GONE: _BUILDING, LAND: _TREES}, _WHITE),
                became=coloured({NEW: _BUILDING, GONE: _GROUND, LAND: _GROUND}, _WHITE),
            )  # fmt: skip


def write_xbd(folder: Path) -> None:
    """Labels as polygons in `train` and `tier3`, as targets in `hold`."""
    damage = {STOOD: "major-damage", GONE: "destroyed", LAND: "un-classified"}
    (first, second), held = PUBLISHED["xbd"]
    for part, name in (("train", first), ("tier3", second), ("hold", held[0]), ("test", "never_00000000")):
        _save_image(date(GONE, STOOD, LAND), folder / part / "images" / f"{name}_pre_disaster.png")
        _save_image(date(STOOD, LAND, unseen=True), folder / part / "images" / f"{name}_post_disaster.png")
        for when in ("pre", "post"):
            file = f"{name}_{when}_disaster"
            if part == "hold":
                values = {STOOD: 3, GONE: 4, LAND: 1} if when == "post" else dict.fromkeys(damage, 1)
                target = sum(_grey(inside(area), value) for area, value in values.items())
                _save_image(np.asarray(target), folder / part / "targets" / f"{file}_target.png")
                continue
            features = [
                {"properties": {"feature_type": "building"} | ({"subtype": d} if when == "post" else {}), "wkt": a.wkt}
                for a, d in damage.items()
            ]
            path = folder / part / "labels" / f"{file}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"features": {"xy": features}, "metadata": {}}))


def write_fotbcd_instances(folder: Path) -> None:
    rings = [[list(np.ravel(area.exterior.coords[:-1]))] for area in (STOOD, GONE, NEW)]
    for part, names in _parts("fotbcd").items():
        for name in names:
            write_published_scene({d: folder / "images" / part / d for d in ("before", "after")}, name)
        notes = [
            {"image_id": i, "category_id": category, "segmentation": ring}
            for i in range(len(names))
            for category, ring in enumerate(rings, start=1)
        ]
        images = [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(names)]
        path = folder / "annotations" / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": notes}))


def write_bandon(folder: Path) -> None:
    roofs = {"before": (GONE, STOOD), "after": (NEW, STOOD)}
    change = _grey(inside(NEW, GONE), 1) + _grey(inside(LAND), 255)
    for part, names in _parts("bandon").items():
        labels = "labels_unch0ch1ig255" if part == "train" else "labels"
        for name in names if part != "test" else ["bj_t1VSt2_never"]:
            city, dates, stem = name.split("_", 2)
            _save_image(change, folder / part / labels / city / dates / f"{stem}.png")
            for when, of in zip(("before", "after"), dates.split("VS"), strict=True):
                image = date(*roofs[when], unseen=when == "after")
                _save_image(image, folder / part / "imgs" / city / of / f"{stem}.jpg")
                values = _grey(inside(*roofs[when]), 1) + _grey(inside(LAND), 2)
                _save_image(values, folder / part / "building_labels" / city / of / f"{stem}.png")


def raster(*structures: Polygon, unseen: bool = False) -> Raster:
    pixels = date(*structures, unseen=unseen)
    return Raster(pixels, pixels.max(axis=2) > 0, gsd=0.5)


def reviewed(pair_id: str = "pair-0", site_id: str = "site-3", **values: object) -> ReviewedPair:
    """A pair of which the building that came and the one that went were reviewed."""
    defaults: dict[str, object] = {
        "before": raster(GONE, STOOD), "after": raster(NEW, STOOD, unseen=True), "model_sha256": "0" * 64,
        "decisions": (Decision("d1", "new", NEW, True), Decision("d2", "removed", GONE, True)),
        "reviewed_at": datetime(2017, 6, 30, tzinfo=UTC),
    }  # fmt: skip
    return ReviewedPair(pair_id, site_id, **{**defaults, **values})  # type: ignore[arg-type]


def write_published(root: Path) -> Path:
    """The sets of `PUBLISHED`."""
    train, held = PUBLISHED["levir_cd_plus"]
    parts = {"train": train + held, "test": ["never"]}
    write_masked(root / "levir_cd_plus", ("A", "B", "label"), parts, inside(NEW))
    write_whu(root / "whu_cd")
    write_s2looking(root / "s2looking")
    write_masked(root / "sysu_cd", ("time1", "time2", "label"), _parts("sysu_cd"), inside(NEW, GONE, LAND))
    write_second(root / "second")
    write_xbd(root / "xbd")
    layers = ("before", "after", "label")
    write_masked(root / "fotbcd" / "images", layers, _parts("fotbcd"), inside(NEW, GONE))
    write_bandon(root / "bandon")
    for pair_id, site_id in zip((*PUBLISHED["feedback"][0], *PUBLISHED["feedback"][1]), SITES, strict=True):
        write_feedback(root / "feedback", reviewed(pair_id, site_id))
    return root


def recipe(**values: object) -> Recipe:
    """A run small enough for a test."""
    defaults: dict[str, object] = {
        "name": "miniature", "sources": {"levir_cd": 0.6, "xbd_mexico": 0.2, "banepa": 0.2},
        "mix": {"real": 0.5, "composite": 0.2, "unrelated": 0.2, "same": 0.1},
        "steps": 4, "batch": 2, "crop": 64, "widths": (8, 8, 8), "frozen_stages": 3, "warmup": 0.25,
    }  # fmt: skip
    return Recipe(**{**defaults, **values})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Released:
    """A run of two steps and what was released of it."""

    run: Path
    onnx: Path
    manifest: Path


def release_run(sets: Path, folder: Path) -> Released:
    import torch

    from service.release import release
    from training.loop import CHECKPOINT, train

    train(recipe(steps=2, clouded=0.3), sets, folder / "run")
    # After two steps the average hardly tells pixels apart; louder heads make agreement and symmetry mean something.
    state = torch.load(folder / "run" / CHECKPOINT, weights_only=True)
    for layer in ("structure_head.logits", "change_head.logits", "cloud_head.1"):
        state["average"][f"module.{layer}.weight"] *= 50
    torch.save(state, folder / "run" / CHECKPOINT)
    manifest = release(folder / "run", sets, "0.0-test", folder / "weights")
    return Released(folder / "run", folder / "weights" / "overhead.onnx", manifest)


def street(rng: np.random.Generator, height: int = 96, width: int = 128) -> tuple[Pixels, Pixels]:
    """A photograph in miniature and its classes: sky above ground, houses between, a pole, a strip unlabelled."""
    classes = np.full((height, width), 4, dtype=np.uint8)
    horizon = int(rng.integers(height // 2, 2 * height // 3))
    classes[horizon:] = 2
    for _ in range(2):
        left, w, h = (int(rng.integers(a, b)) for a, b in ((0, width - 40), (24, 40), (20, horizon)))
        classes[horizon - h : horizon + 4, left : left + w] = 1
    classes[horizon - 8 : horizon, :20] = 3
    pole = int(rng.integers(30, width - 10))
    classes[8 : horizon + 10, pole : pole + 3] = 5
    classes[-4:] = 0
    colours = np.array([[90, 90, 90], [180, 90, 70], [120, 120, 125], [60, 120, 50], [150, 190, 240], [40, 40, 45]])
    pixels = colours[classes] + rng.normal(0, 8, (height, width, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8), classes


def write_photographs(root: Path) -> Path:
    """The three sets of photographs; of `ground_camvid` two sequences."""
    films = [*(f"0001TP_{i:06}" for i in range(3)), *(f"0016E5_{i:06}" for i in range(2))]
    sets = {"ground_facade": 7, "ground_labelmefacade": 6, "ground_camvid": films}
    for source, content in sets.items():
        names = [f"view_{i:02}" for i in range(content)] if isinstance(content, int) else content
        for i, name in enumerate(names):
            image, classes = street(np.random.default_rng(300 + i))
            _save_image(image, root / source / "image" / f"{name}.jpg")
            (root / source / "classes").mkdir(parents=True, exist_ok=True)
            Image.fromarray(classes).save(root / source / "classes" / f"{name}.png")
    return root


def ground_recipe(**values: object) -> Recipe:
    """A run on photographs small enough for a test."""
    defaults: dict[str, object] = {
        "domain": "ground", "classes": 5, "sources": {"ground_facade": 0.5, "ground_camvid": 0.5},
        "mix": {"same": 0.3, "removed": 0.3, "added": 0.2, "unrelated": 0.2},
    }  # fmt: skip
    return recipe(**{**defaults, **values})
