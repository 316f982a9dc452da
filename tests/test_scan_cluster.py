"""The same scan on a Dask cluster of separate processes, one of them killed midway."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from inference.scan.run import Progress
from tests import scans
from tests.scans import pair, run

ROOT = Path(__file__).parents[1]
WORKER = """
import sys, asyncio
from distributed import Worker

async def work():
    async with Worker(sys.argv[1], nthreads=1, local_directory=sys.argv[2], dashboard=False, memory_limit=0) as worker:
        await worker.finished()

asyncio.run(work())
"""
SCHEDULER = """
import asyncio
from distributed import Scheduler

async def serve():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(serve())
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """Address of a scheduler, and its two workers."""
    quiet = {"stderr": subprocess.DEVNULL, "cwd": ROOT, "text": True}
    scheduler = subprocess.Popen([sys.executable, "-c", SCHEDULER], stdout=subprocess.PIPE, **quiet)  # type: ignore[call-overload]
    address = scheduler.stdout.readline().strip()
    assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", address)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, address, str(tmp_path / f"worker{i}")], **quiet)  # type: ignore[call-overload]
        for i in range(2)
    ]
    yield address, workers
    for process in (*workers, scheduler):
        process.terminate()
    for process in (*workers, scheduler):
        process.wait(20)
    scheduler.stdout.close()


@pytest.mark.filterwarnings("ignore")  # what distributed warns of when a worker dies is what is tested
def test_a_killed_worker_changes_no_byte(cluster: tuple[str, list[subprocess.Popen[str]]], tmp_path: Path) -> None:
    address, workers = cluster
    files = pair(tmp_path, ((20, 20, 40, 30),), ((500, 900, 80, 60),), height=1000, width=1700)
    run(*files, tmp_path / "here" / "run")
    killed: list[float] = []

    def kill_one(state: Progress) -> None:
        if state.stage == "score" and not killed:
            os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(time.monotonic())

    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2, timeout=60)
        executor = client.get_executor(pure=False)
        found = run(*files, tmp_path / "there" / "run", executor=executor, progress=kill_one)
    assert killed
    assert found.set_aside == 0
    assert len(scans.features(tmp_path / "there" / "run")) == 2
    assert scans.same(tmp_path / "here" / "run", tmp_path / "there" / "run")
