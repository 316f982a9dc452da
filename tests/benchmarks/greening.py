"""How far estimates of greened land are off on generated districts, and how often their errors cover the truth.

    python -m tests.benchmarks.greening

Each district has lots made green, dust nets laid and taken away, structures that come and go, another sun, season,
haze and gain at the second date. Sites are rectangles around what was greened, and as many anywhere. Generated
vegetation is easier to tell than real one: these figures say that the estimate is unbiased and its error honest where
the truth is known, not how good it is in a real district.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from datasets.district import Changes, generate
from inference.greening import survey
from tests.greenings import boxes, scenes, site, truth_m2

GREENED_M2 = 60.0


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--districts", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=300)
    given = parser.parse_args()
    rows: dict[str, list[tuple[float, float, float, float]]] = {"rgb": [], "ndvi": []}
    for seed in range(given.first_seed, given.first_seed + given.districts):
        rng = np.random.default_rng(seed)
        changes = Changes(
            new=3, removed=3, greened=12, nets=6, season=rng.uniform(-0.15, 0.3), haze=rng.uniform(0, 0.25),
            gain=rng.uniform(-0.2, 0.2), sun_turn_deg=rng.uniform(0, 30), shift_px=rng.uniform(0, 2),
        )  # fmt: skip
        district = generate(seed, size=512, changes=changes)
        places = list(boxes(district, seed))
        for index in rows:
            with tempfile.TemporaryDirectory() as folder:
                nir = (4, 4) if index == "ndvi" else None
                pair = scenes(Path(folder), district, nir=nir is not None)
                found = survey(*pair, [site(district, box) for box in places], infrared=nir)
            for box, one in zip(places, found.sites, strict=True):
                assert one.greened_m2 is not None
                assert one.error_m2 is not None
                rows[index].append((truth_m2(district, box), one.greened_m2, one.error_m2, one.site_m2))
    for index, values in rows.items():
        truth, estimate, error, area = np.array(values).T
        off = estimate - truth
        print(f"{index}: {len(truth)} sites of {area.mean():.0f} m2 in {given.districts} districts")
        for name, chosen in (("greened", truth > GREENED_M2), ("not greened", truth <= GREENED_M2)):
            o, e, t = off[chosen], error[chosen], truth[chosen]
            inside = [float((np.abs(o) <= k * e).mean()) for k in (1, 2)]
            print(
                f"  {name:12}{len(o):4d} sites, {t.mean():6.1f} m2 each: off by {o.mean():+6.1f} on average, "
                f"{np.sqrt((o**2).mean()):5.1f} rms, {np.median(np.abs(o)):5.1f} median, {np.abs(o).max():6.1f} at most"
                f"; stated error {e.mean():5.1f}; truth within 1 error {inside[0]:.0%}, within 2 {inside[1]:.0%}"
            )


if __name__ == "__main__":
    main()
