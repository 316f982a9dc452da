"""The model card, written from the manifest: what the weights are, what they reach, and where they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LEAVE_ONE_OUT, GATE = "leave_one_out.json", "gate.json"
"""Figures measured apart from a release; shown where the files lie in the run's folder or beside the weights."""

_SETS = {
    "levir_cd": ("LEVIR-CD; Google Earth, Texas, 0.5 m", "change; structures as seen before", "academic use"),
    "xbd_mexico": ("xBD, Mexico City; about 1 m", "structure at each date, no change", "CC BY-NC-SA 4.0"),
    "xbd_other": ("xBD, Harvey and Guatemala; about 1 m", "structure at each date, no change", "CC BY-NC-SA 4.0"),
    "xbd": ("xBD, all events", "structure at each date", "CC BY-NC-SA 4.0"),
    "ida": ("Ida-BD; 0.5 m", "structure at each date, no change", "research"),
    "banepa": ("Banepa drone mosaic; 0.27 m", "structure, composites", "CC BY 4.0 imagery, ODbL labels"),
    "dubai_coarse": ("MBRSC aerial imagery, Dubai", "where no structure stands", "CC0, unverified"),
    "ground_labelmefacade": ("LabelMe facades; street photographs", "five classes", "LabelMe: research"),
    "ground_facade": ("facades, many at night", "five classes (sky unlabelled)", "CC BY 4.0"),
    "ground_camvid": ("CamVid; frames of films from a car", "five classes", "research"),
    "feedback": ("decisions recorded by the operator", "change", "the operator's own"),
}

Row = dict[str, Any]


def write_card(manifest: Path, *folders: Path) -> Path:
    """Write `<domain>.md` beside a manifest.

    Args:
        folders: where `LEAVE_ONE_OUT` and `GATE` are looked for, besides the folder of the manifest; both are of
            overhead weights only.
    """
    facts = json.loads(manifest.read_text("utf-8"))
    if facts["domain"] == "ground":
        text = photograph_card(facts)
    else:
        extra = {name: _optional(name, (*folders, manifest.parent)) for name in (LEAVE_ONE_OUT, GATE)}
        text = card(facts, leave_one_out=extra[LEAVE_ONE_OUT], gate=extra[GATE])
    path = manifest.with_suffix(".md")
    path.write_text(text, "utf-8")
    return path


def photograph_card(facts: dict[str, Any]) -> str:
    """The card of weights for photographs as Markdown, from their manifest."""
    classes = facts["output"]["classes"]
    rows = [
        (f"`{name}`", *(_number(row[c]) for c in classes)) for name, row in facts["classes_iou"].items()
    ]  # fmt: skip
    parts = [
        _what_it_is(facts),
        _data(facts["recipe"]),
        "## What stands where\n\nIoU on the validation pictures, one picture at a time, "
        f"at {facts['input']['long_side']} px. A class that a set does not label has no figure.\n\n"
        + _table(("set", *classes), rows),
        "## What changed\n\nOn pairs made of validation pictures (`training/photographs.py`): a structure removed, "
        "added or neither, lit apart,\ndisplaced by up to 6 px. No real pairs with labels exist here: these figures "
        "say that the network tells change from\nlight, not how it does on a courtyard. Areas are in pixels; "
        "`/km2` has no meaning here.\n\n" + _scores(facts["metrics"]),
        _calibration(facts),
        """## Limits

- Trained on European and American streets. Courtyards, sheds of sheet metal and rubble are not among them.
- Buildings of neighbours in view count as structures; a person decides which belong to the site.
- Rubble and rubbish are not told from ground.

For suspected leads that a named person looks at and decides. Not for decisions by itself, and not about people.""",
    ]
    return "\n\n".join(parts) + "\n"


def _optional(name: str, folders: tuple[Path, ...]) -> Any:
    for folder in folders:
        if (folder / name).is_file():
            return json.loads((folder / name).read_text("utf-8"))
    return None


def card(facts: dict[str, Any], *, leave_one_out: dict[str, Row] | None = None, gate: Row | None = None) -> str:
    """The card of a manifest as Markdown.

    Args:
        leave_one_out: set/output -> figures as of `Scores.as_dict`, of weights that never saw that set.
        gate: what `tests/benchmarks/gate.py --json` writes.
    """
    parts = [
        _what_it_is(facts), _data(facts["recipe"]), _figures(facts["metrics"]), _shift(facts), _held_out(leave_one_out),
        _calibration(facts), _areas(facts), _gate(gate), _limits(facts),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _what_it_is(facts: dict[str, Any]) -> str:
    low, high = facts["input"].get("gsd_range_m") or (None, None)
    ground = f"; {low} to {high} m per pixel" if low else ""
    weights, recipe = facts["domain"], facts["recipe"]
    return f"""# Model card: {facts["name"]} {facts["version"]}

What stands at each of two dates of one place, and what changed between them.

| | |
|---|---|
| files | `{weights}.pt`: checkpoint to train on from (`--start`); `{weights}.onnx`, sha256 `{facts["sha256"]}` |
| network | `model/network.py` |
| input | two dates, uint8 RGB, NCHW, sides multiples of {facts["input"]["multiple_of"]}{ground} |
| output | logits of {", ".join(name.replace("_", " ") for name in facts["output"]["names"])} |
| trained | recipe `{recipe["name"]}`, {recipe["steps"]} steps of {recipe["batch"]} pairs; see `training/RESULTS.md` |
| licence | Apache-2.0 for the weights; the data below is not included |"""


def _data(recipe: dict[str, Any]) -> str:
    unknown = ("see `datasets/`", "", "see its publisher")
    rows = [(f"`{name}`", *_SETS.get(name, unknown)) for name in recipe["sources"]]
    rows.append(("ImageNet", "through the weights of EfficientNet-Lite0", "start of the encoder", "Apache-2.0 weights"))
    note = (
        "Several of these licences allow research and other non-commercial use only. Whoever wants to use the weights "
        "commercially\nmust ask whether that carries over to weights, and may retrain without those sets."
    )
    return "## Data\n\n" + _table(("set", "what", "used for", "licence"), rows) + "\n\n" + note


_HEAD = ("set/output", "pixel F1", "IoU", "object recall", "object precision", "false objects/km2", "objects", "km2")
_KEYS = ("f1", "iou", "object_recall", "object_precision", "false_objects_per_km2")


def _scores(rows: dict[str, Row]) -> str:
    """`Scores.as_dict` by name."""
    lines = []
    for name, row in rows.items():
        rates = (_number(row[key]) for key in _KEYS)
        lines.append((name, *rates, str(row["objects"]), f"{row['area_km2']:.2f}"))
    return _table(_HEAD, lines)


def _figures(metrics: dict[str, Row]) -> str:
    return f"""## Figures

`jingdi evaluate --data DATA`, validation splits, as shipped (ONNX Runtime, windows as in use), told forwards and
backwards. Objects: 8-connected, from 40 px, found at 10 % cover. Sets in which nothing changed have no recall of
change, only false objects. Thresholds and temperatures were chosen on these same splits, which is a little kind.

{_scores(metrics)}"""


def _shift(facts: dict[str, Any]) -> str:
    shift = facts.get("shift")
    if not shift:
        return ""
    return f"""## When the dates do not lie on each other

`jingdi evaluate --data DATA --shift {shift["px"]}`: the earlier date moved by {shift["px"]} px, not registered again.

{_scores(shift["metrics"])}"""


def _held_out(rows: dict[str, Row] | None) -> str:
    if rows is None:
        return ""
    return f"""## Sets never seen

`jingdi leave-out training/recipes/leave_one_out.toml --data DATA --run runs/leave_out`: short runs from ImageNet's
weights, one without the set, and one of the same length that saw everything. Neither is this release, which was trained
far longer; the difference says what it costs when a region and sensor were never seen.

{_scores(rows)}"""


def _calibration(facts: dict[str, Any]) -> str:
    parts = ["## Calibration"]
    temperatures = facts["calibration"]["temperature"]
    parts.append("Temperatures: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in temperatures.items()) + ".")
    for name, diagram in facts.get("reliability", {}).items():
        error = "not measured" if diagram["error"] is None else f"{diagram['error']:.4f}"
        rows = [
            (f"{said:.3f}", f"{true:.3f}", _bar(true), f"{int(count)}")
            for said, true, count in diagram["bins"]
        ]  # fmt: skip
        parts.append(f"**{name}**: expected calibration error {error}.")
        if rows:
            parts.append(_table(("said", "true", "", "count"), rows))
    return "\n\n".join(parts)


def _bar(share: float) -> str:
    return "█" * round(20 * share) or "·"


def _areas(facts: dict[str, Any]) -> str:
    coverage = facts.get("area_coverage")
    if not coverage:
        return ""
    held = f"held {coverage['share']:.1%} of" if coverage["share"] is not None else "could not be measured: too few of"
    return f"""## Areas

The standard error of an area is {facts["calibration"]["area_error_px"]} px per pixel of outline. The interval
meant to hold {coverage["interval"]:.0%} of the true areas, ± {coverage["sigmas"]} standard errors, {held}
{coverage["findings"]} findings: those of the validation splits that match one changed object, each scene by an error
fitted on the other scenes."""


def _gate(gate: Row | None) -> str:
    if gate is None:
        return ""
    rows = [
        (kind, "hopeless" if k["hopeless"] else "good", f"{k['refused']} of {k['pairs']}", ", ".join(k["reasons"]))
        for kind, k in gate["kinds"].items()
    ]
    return f"""## Knowing when not to speak

`python -m tests.benchmarks.gate --data DATA`: {gate["hopeless_refused"]:.1%} of hopeless pairs refused, and
{gate["good_refused"]:.1%} of good ones.

{_table(("pair", "", "refused", "reasons"), rows)}"""


def _limits(facts: dict[str, Any]) -> str:
    return """## Limits

- Small changes in dense quarters are missed first (`python -m tests.benchmarks.districts`). Where structures stand
  such a place reads as `remaining`, not as `clear`; but on bare ground a small shed could be missed.
- Second dates with flood water, ash or snow are read worse; see the rows of each set above.
- Structures of either date are judged from both where nothing changed nearby (`model.network.agreed`): a structure
  whose removal is missed reads as `remaining`. xBD's outlines of the second date are those of the first, carried over.
- What a cloud hides is not observed (`python -m tests.benchmarks.clouds`: real clouds, none of them labelled in
  training). A thin veil through which the ground shows is judged all the same, and of white sand without any detail a
  little is taken for cloud.
- Labels are as published, and not free of errors: some of what counts as false here was looked at and has changed
  (`training/RESULTS.md`). Places of training pictures that were seen to be wrong are left out (`datasets/doubts.py`).
- Unseen: radar, night, ground resolution outside the range above (refused where the resolution is known).
- It sees roofs, not their legality, and neither rubble nor rubbish: "ground clean" is not assessed.

For suspected leads that a named person looks at and decides. Not for decisions by itself, and not about people."""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
