from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from service.cli import app
from tests.miniature import recipe
from training.samples import Samples
from training.sheet import sheet


def test_a_sheet_shows_pictures_and_labels_of_each_sample(sets: Path) -> None:
    samples = Samples(recipe(), sets, 3)
    side, gap = recipe().crop, 4
    drawn = sheet(samples, 3, columns=2, gap=gap)
    step = side + gap
    assert drawn.shape == (2 * step, 2 * 5 * step, 3)
    before, _, labels = samples[1]  # the right one of the first row
    np.testing.assert_array_equal(drawn[:side, 5 * step : 5 * step + side], before.permute(1, 2, 0).numpy())
    change = drawn[:side, 9 * step : 9 * step + side, 0]
    assert ((change == 255) == (labels[2].numpy() == 1)).all()
    assert ((change == 96) == (labels[2].numpy() == 255)).all()
    assert (drawn[step:, 5 * step :] == 255).all()  # no fourth sample


def test_the_command_writes_a_sheet(sets: Path, tmp_path: Path) -> None:
    text = "steps = 1\nbatch = 2\ncrop = 64\n[sources]\nlevir_cd = 1.0\nida = 1.0\n"
    (tmp_path / "small.toml").write_text(text)
    target = tmp_path / "sheet.png"
    arguments = ["samples", str(tmp_path / "small.toml"), "--data", str(sets), "--to", str(target), "--count", "2"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert target.read_bytes().startswith(b"\x89PNG")
