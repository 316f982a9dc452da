"""How many of the changes planted in generated districts the released weights find, by size.

    python -m tests.benchmarks.districts

A planted change counts as found if a finding of its kind covers 10 % of it. Generated imagery is not what the
weights were trained on, so this says how they behave on dense courtyards, not how good they are on real ones.
"""

from __future__ import annotations

from shapely.geometry import Polygon

from datasets.district import generate
from inference.assess import assess
from inference.findings import Finding
from inference.model import Model

SEEDS, SIZE_PX = (3, 5, 7, 11, 12, 13), 512
SIZES_M2 = ((0, 60), (60, 100), (100, 10_000))


def _covers(finding: Finding, polygon: Polygon) -> bool:
    return bool(finding.polygon.buffer(0).intersection(polygon).area >= 0.1 * polygon.area)


def main() -> None:
    model = Model.load()
    planted, found, false = dict.fromkeys(SIZES_M2, 0), dict.fromkeys(SIZES_M2, 0), 0
    for seed in SEEDS:
        district = generate(seed, size=SIZE_PX)
        changed = [s for s in district.structures if s.kind != "remaining"]
        findings = [f for f in assess(district.before, district.after, model).findings if f.kind != "remaining"]
        for structure in changed:
            size = next(s for s in SIZES_M2 if s[0] <= structure.area_m2 < s[1])
            planted[size] += 1
            found[size] += any(f.kind == structure.kind and _covers(f, structure.polygon) for f in findings)
        false += sum(not any(f.polygon.buffer(0).intersects(s.polygon) for s in changed) for f in findings)
    for size in SIZES_M2:
        print(f"{size[0]:4d} to {size[1]:5d} m2: {found[size]:2d} of {planted[size]:2d} found")
    area_km2 = len(SEEDS) * (SIZE_PX * 0.5) ** 2 / 1e6
    print(f"false changes: {false} on {area_km2:.2f} km2")


if __name__ == "__main__":
    main()
