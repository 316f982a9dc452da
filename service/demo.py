"""An example for a first visit: a made-up district, submitted the same way as any other pair."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from datasets.district import generate
from datasets.geotiff import write_geotiff
from service.intake import Intake, Upload

DEMO_SEED = 19
DEMO_SIZE_PX = 512
DEMO_GSD_M = 0.5


def seed_demo(intake: Intake) -> None:
    """Submit the example, if there are no pairs yet."""
    if intake.pairs.count():
        return
    district = generate(DEMO_SEED, size=DEMO_SIZE_PX, gsd=DEMO_GSD_M)
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "demo-before.tif", Path(folder) / "demo-after.tif"
        write_geotiff(district.before, before)
        write_geotiff(district.after, after)
        with before.open("rb") as first, after.open("rb") as second:
            intake.submit(Upload(before.name, first), Upload(after.name, second))
