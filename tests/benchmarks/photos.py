"""How well two photographs of one place are laid over each other, and unrelated ones refused.

    python -m tests.benchmarks.photos --data DATA --limit 150 --unrelated 600

Pairs with known truth are made from the ground sets. Each condition adds to the one before:
    warped     another viewpoint: perspective up to 20 %, turned up to 10 degrees, scale 0.7 to 1.4; what the first
               photograph did not see shows some other place
    relit      another day: gain, gamma, white balance, haze, noise, JPEG
    replaced   structures taken away (ground, plants and sky of other places instead) or put there
In each at least 25 % of either photograph is unchanged in the other and is not sky.
    mirrored, unrelated    must be refused; unrelated are photographs of different scenes
Thresholds were tuned on one half of the photographs (`--half tune`), figures are reported on the other.
A pair counts as registered if the median error over what is in common is below 1 % of the width.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.matching import bundled
from inference.planes import Planes, fit_surely
from inference.registration import NotComparable, lay, sift_matches

SETS = ("ground_labelmefacade", "ground_facade", "ground_camvid")
STRUCTURE, NOT_BUILT, SKY = 1, (2, 3, 4), 4
MIN_COMMON = 0.25
MAX_ERROR = 0.01

Pixels = NDArray[np.uint8]
Matches = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Scene:
    """One photograph: what it shows, and which others might show the same."""

    place: str
    pixels: Pixels
    classes: NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """Two photographs; `truth` maps pixels of `after` to pixels of `before`, `common` is content seen in both."""

    before: Pixels
    after: Pixels
    truth: NDArray[np.float64] | None = None
    common: NDArray[np.bool_] | None = None


def _place(source: str, name: str) -> str:
    """Names tell where a photograph was taken only roughly; one that might be of the same place counts as such."""
    if source == "ground_camvid":
        return f"{source}/{name[:6]}"
    if source == "ground_labelmefacade":
        return f"{source}/{name.split('__')[0]}"
    number = re.search(r"IMG_(\d+)|(\d{8}_\d\d)", name)
    return f"{source}/{(number.group(1) or number.group(2))[:2] if number else name}"


def scenes(data: Path, half: str) -> list[Scene]:
    """One half of the photographs, by hash of the name, in an order that mixes the sets."""
    chosen = []
    for source in SETS:
        for path in sorted((data / source / "image").iterdir()):
            digest = hashlib.sha256(f"{source}/{path.stem}".encode()).hexdigest()
            if (int(digest[:2], 16) % 2 == 0) == (half == "tune"):
                chosen.append((digest, source, path))
    result = []
    for _, source, path in sorted(chosen)[:500]:
        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        classes = cv2.imread(str(data / source / "classes" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        result.append(Scene(_place(source, path.stem), np.asarray(pixels, np.uint8), np.asarray(classes, np.uint8)))
    return result


def viewpoint(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """A homography from one photograph to another of the same size taken a few steps away."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    middle = corners.mean(axis=0)
    angle, scale = np.radians(rng.uniform(-10, 10)), np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - middle) @ turn.T + middle + rng.uniform(-0.4, 0.4, 2) * (width, height)
    moved += rng.uniform(-0.1, 0.1, (4, 2)) * (width, height)
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32)), np.float64)


def other_day(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Other light, other air, another camera."""
    x = (pixels / 255.0) ** np.exp(rng.uniform(-0.5, 0.5)) * rng.uniform(0.6, 1.3) * rng.uniform(0.87, 1.15, 3)
    haze = rng.uniform(0, 0.35)
    x = x * (1 - haze) + 0.8 * haze + rng.normal(0, rng.uniform(0, 0.03), x.shape)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
    file = cv2.imencode(".jpg", (np.clip(x, 0, 1) * 255).astype(np.uint8), quality)[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)


def _fitted(values: NDArray[np.uint8], size: tuple[int, int], how: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(values, size, interpolation=how), np.uint8)


def replaced(rng: np.random.Generator, scene: Scene, others: list[Scene]) -> tuple[Pixels, NDArray[np.bool_]]:
    """The photograph with structures gone or come, and where it was changed."""
    size = (scene.pixels.shape[1], scene.pixels.shape[0])
    fill = _fitted(others[0].pixels, size, cv2.INTER_AREA)
    built = _fitted(others[0].classes, size, cv2.INTER_NEAREST) == STRUCTURE
    if rng.random() < 0.25 and built.mean() > 0.1:
        changed = built  # the structures of another place stand here
    else:
        for other in others:
            open_land = np.isin(_fitted(other.classes, size, cv2.INTER_NEAREST), NOT_BUILT)
            fill[built & open_land] = _fitted(other.pixels, size, cv2.INTER_AREA)[built & open_land]
            built &= ~open_land
        changed = scene.classes == STRUCTURE
    if changed.mean() > 0.7:  # a side of it stays, or there would be nothing to go by
        changed = changed & (np.arange(size[0]) < size[0] * rng.uniform(0.4, 0.7))[:: int(rng.choice([-1, 1]))]
    soft = cv2.GaussianBlur(changed.astype(np.float32), (0, 0), 1.5)[..., None]
    return np.asarray(fill * soft + scene.pixels * (1 - soft), np.uint8), changed


def cases(condition: str, pool: list[Scene], seed: int = 0) -> Iterator[Case]:
    """Endlessly, always the same for one seed."""
    rng = np.random.default_rng(seed)
    while True:
        for scene in pool:
            height, width = scene.pixels.shape[:2]
            others = [o for o in (pool[i] for i in rng.integers(len(pool), size=40)) if o.place != scene.place][:6]
            if condition == "unrelated":
                yield Case(scene.pixels, others[0].pixels)
                continue
            if condition == "mirrored":
                yield Case(scene.pixels, other_day(rng, np.ascontiguousarray(scene.pixels[:, ::-1])))
                continue
            pixels, changed = scene.pixels, np.zeros((height, width), np.bool_)
            if condition == "replaced":
                pixels, changed = replaced(rng, scene, others)
            content = ~changed & (scene.classes != SKY)
            for _ in range(20):
                forward = viewpoint(rng, width, height)
                seen = cv2.warpPerspective(np.ones((height, width), np.uint8), np.linalg.inv(forward), (width, height))
                common = (seen > 0) & content
                shown = cv2.warpPerspective(content.astype(np.uint8), forward, (width, height)).mean()
                if min(common.mean(), shown) >= MIN_COMMON:
                    break
            else:
                continue
            after = _fitted(others[-1].pixels, (width, height), cv2.INTER_AREA)
            cv2.warpPerspective(
                pixels, forward, (width, height), after, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
            )
            if condition != "warped":
                after = other_day(rng, after)
            yield Case(scene.pixels, after, np.linalg.inv(forward), common)


def error(case: Case, planes: Planes) -> float:
    """Median distance between where a place in common is and where it was found, as a share of the width.

    Measured in pixels of `before`: for each of its pixels, the place in `after` that was laid on it, brought back.
    """
    assert case.truth is not None
    assert case.common is not None
    x, y = (m[case.common][::31] for m in planes.maps())
    rows, columns = (i[::31] for i in np.nonzero(case.common))
    back = cv2.perspectiveTransform(np.stack([x, y], -1)[None].astype(np.float64), case.truth)[0]
    return float(np.median(np.hypot(back[:, 0] - columns, back[:, 1] - rows))) / case.before.shape[1]


def _raster(pixels: Pixels) -> Raster:
    return Raster(pixels, np.ones(pixels.shape[:2], np.bool_))


def _mutual(before: Raster, after: Raster) -> Matches:
    matcher = bundled()
    first, second = matcher.points(before), matcher.points(after)
    likeness = first.descriptors @ second.descriptors.T
    forward, backward = likeness.argmax(1), likeness.argmax(0)
    kept = np.flatnonzero((backward[forward] == np.arange(len(forward))) & (likeness.max(1) > 0.82))
    return second.xy[forward[kept]], first.xy[kept]


def _by(matches: Callable[[Raster, Raster], Matches]) -> Callable[[Raster, Raster], Planes | None]:
    def method(before: Raster, after: Raster) -> Planes | None:
        return fit_surely(*matches(before, after), (after.width, after.height), (before.width, before.height))

    return method


def _as_released(before: Raster, after: Raster) -> Planes | None:
    try:
        return lay(before, after)
    except NotComparable:
        return None


METHODS = {
    "register": _as_released,
    "sift": _by(sift_matches),
    "xfeat-mutual": _by(_mutual),
    "xfeat-lighterglue": _by(lambda before, after: bundled().matches(before, after)),
}


def _outcome(case: Case, method: str) -> tuple[Planes | None, float]:
    """How a method lays the second photograph, None if it refuses, and the seconds it took."""
    before, after = _raster(case.before), _raster(case.after)
    start = time.perf_counter()
    return METHODS[method](before, after), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--limit", type=int, default=150, help="pairs per condition")
    parser.add_argument("--unrelated", type=int, default=600, help="unrelated pairs")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["register"])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pool = scenes(options.data, options.half)
    print(f"{len(pool)} photographs of {len({s.place for s in pool})} places, half: {options.half}")
    for method in options.methods:
        print(f"\n{method}")
        for condition in ("warped", "relit", "replaced"):
            accepted, right, errors, seconds = 0, 0, [], []
            for case in islice(cases(condition, pool), options.limit):
                planes, took = _outcome(case, method)
                seconds.append(took)
                if planes is not None:
                    accepted += 1
                    errors.append(error(case, planes))
                    right += errors[-1] < MAX_ERROR
            median = f"median error {100 * np.median(errors):.2f} % of the width" if errors else "none accepted"
            print(
                f"  {condition:10s} registered {right}/{options.limit} = {100 * right / options.limit:.1f} %, "
                f"accepted but wrong {accepted - right}, {median}, {np.mean(seconds):.2f} s"
            )
        for condition, count in (("mirrored", options.limit), ("unrelated", options.unrelated)):
            wrong = sum(_outcome(case, method)[0] is not None for case in islice(cases(condition, pool), count))
            print(f"  {condition:10s} accepted {wrong}/{count} = {100 * wrong / count:.1f} %")


if __name__ == "__main__":
    main()
