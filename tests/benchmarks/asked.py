"""What benchmarks of overhead weights are asked on the command line: `--data DATA [--weights FOLDER]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from inference.model import BUNDLED, Model


def data_and_model() -> tuple[Path, Model]:
    """The folder of labelled sets, and the overhead weights of a folder, the released ones if none is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    options = parser.parse_args()
    return options.data, Model(options.weights / "overhead.onnx", options.weights / "overhead.json")
