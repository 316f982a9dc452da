"""Delivery under faults: five receivers that fail a third of the time, a sender killed at random moments.

    python -m tests.benchmarks.delivery --kills 100 --events 40

Prints, per receiver, what was accepted, how many keys that is, and how many were accepted more than once before the
receiver deduplicated. Exits with 1 if an event was lost or has two ids at one receiver.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.fakes_notify import new_world
from tests.test_notify_sender import check, run


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, new_world(Path(folder)) as world:
        started = time.perf_counter()
        receivers = run(world, arguments.events, arguments.kills, 1 / 3, arguments.seed)
        print(f"{arguments.events} events, {arguments.kills} kills, {time.perf_counter() - started:.0f} s")
        print(f"{'receiver':10}{'requests':>10}{'accepted':>10}{'keys':>6}{'doubled':>9}{'busiest minute':>16}")
        for name, receiver in receivers.items():
            figures = len(receiver.times), len(receiver.accepted), len(receiver.ids), receiver.duplicates
            busiest = receiver.busiest_minute
            print(f"{name:10}{figures[0]:>10}{figures[1]:>10}{figures[2]:>6}{figures[3]:>9}{busiest:>16}")
        check(world, receivers, arguments.events)


if __name__ == "__main__":
    main()
