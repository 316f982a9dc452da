"""From two nights of findings to inspectors, with receivers that fail and a process that is killed.

    python -m tests.benchmarks.rebound --kills 100

A district of 547 sites (see `tests.rebounds`). A process takes both nights in, dispatches and sends; it is killed with
SIGKILL at random moments until it is done, in as many rounds, each with a new database, as it takes to kill it so
often before it is done. Prints what each receiver got, and exits with 1 if an alert is missing, too many, lost or
under two ids at one receiver, or if the audit log does not verify.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fakes_notify import new_world
from tests.rebounds import FAULTS, check, run


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--closed", type=int, default=500, help="How many of the 547 sites are closed.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kills: Counter[str] = Counter()
    accepted, keys, doubled, requests = (Counter[str]() for _ in range(4))
    rounds, started = 0, time.perf_counter()
    while rounds == 0 or kills.total() < given.kills:
        with tempfile.TemporaryDirectory() as folder, new_world(Path(folder)) as world:
            found = run(
                world, Path(folder), closed=given.closed, kills=given.kills - kills.total(), seed=given.seed + rounds,
                wait_s=300,
            )  # fmt: skip
            check(world, found)
        rounds += 1
        kills.update(found.kills)
        for name, receiver in found.receivers.items():
            requests[name] += len(receiver.times)
            accepted[name] += len(receiver.accepted)
            keys[name] += len(receiver.ids)
            doubled[name] += receiver.duplicates
        print(f"round {rounds}: killed {found.kills}, {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{rounds} rounds, {kills.total()} kills {dict(kills)}; exactly 5 alerts in each, audit log intact")
    print(f"{'receiver':10}{'fails with':>12}{'requests':>10}{'accepted':>10}{'keys':>6}{'same id twice':>15}")
    for name, mood in FAULTS.items():
        print(f"{name:10}{mood:>12}{requests[name]:>10}{accepted[name]:>10}{keys[name]:>6}{doubled[name]:>15}")


if __name__ == "__main__":
    main()
