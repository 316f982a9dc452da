"""Time of one 256 px pair through the released weights on one thread, beside this machine's own GEMM speed.

    python -m tests.benchmarks.speed

Absolute times depend on the machine, so they are given together with what a plain matrix product reaches there.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable

import numpy as np

from inference.model import Model

RUNS = 30


def _median_ms(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def main() -> None:
    random = np.random.default_rng(0)
    matrix = random.random((1024, 1024), dtype=np.float32)
    gemm_ms = _median_ms(lambda: matrix @ matrix)
    print(f"GEMM fp32, 1024^3, one thread: {2 * 1024**3 / gemm_ms / 1e6:.0f} GFLOP/s")
    model = Model.load(threads=1)
    for side in (256, 512):
        before, after = (random.integers(0, 256, (1, 3, side, side), dtype=np.uint8) for _ in range(2))
        pair_ms = _median_ms(lambda a=before, b=after: model.logits(a, b))  # type: ignore[misc]
        print(f"one {side} px pair, one thread: {pair_ms:.1f} ms = {pair_ms / gemm_ms:.1f} such products")


if __name__ == "__main__":
    main()
