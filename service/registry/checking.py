"""Whether weights can be used here at all: before they are taken in, not when the first pair meets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.compare import WEIGHTS
from inference.model import Model, ModelError
from model import output_names
from service.registry.errors import ModelRefused

DOMAINS = tuple(WEIGHTS.values())
INPUT: Mapping[str, Any] = {"names": ["before", "after"], "layout": "NCHW", "dtype": "uint8", "channels": "RGB"}
OUTPUT: Mapping[str, Any] = {"layout": "NCHW", "dtype": "float32", "meaning": "logits"}
"""What is fed to every set of weights, and what is read from it."""
_NEEDED = {"overhead": "gsd_range_m", "ground": "long_side"}
_TRIAL_PX = 64


def inspect(onnx: Path, manifest: Path) -> dict[str, Any]:
    """What the manifest says, if the weights are what it says and can be run here; a small trial run is made.

    Raises:
        ModelRefused: with the cause.
    """
    facts = _read(manifest)
    domain = facts.get("domain")
    if domain not in DOMAINS:
        raise ModelRefused("model_domain", found=str(domain), expected=", ".join(DOMAINS))
    try:
        found = hashlib.sha256(onnx.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelRefused("model_unreadable", file=onnx.name, detail=error.strerror or str(error)) from error
    if found != facts.get("sha256"):
        raise ModelRefused("model_sha256", found=found[:12], stated=str(facts.get("sha256"))[:12])
    _check_contract(facts, domain)
    _try(onnx, manifest)
    return facts


def _read(manifest: Path) -> dict[str, Any]:
    try:
        facts = json.loads(manifest.read_text("utf-8"))
    except OSError as error:
        raise ModelRefused("model_unreadable", file=manifest.name, detail=error.strerror or str(error)) from error
    except ValueError as error:
        raise ModelRefused("model_unreadable", file=manifest.name, detail=f"JSON: {error}") from error
    if not isinstance(facts, dict) or not all(isinstance(facts.get(part), dict) for part in ("input", "output")):
        raise ModelRefused("model_unreadable", file=manifest.name, detail="input, output")
    for name in ("name", "version"):
        if not isinstance(facts.get(name), str) or not 0 < len(facts[name]) <= 64:
            raise ModelRefused("model_unreadable", file=manifest.name, detail=name)
    return facts


def _check_contract(facts: Mapping[str, Any], domain: str) -> None:
    for part, wanted in (("input", INPUT), ("output", OUTPUT)):
        for name, expected in wanted.items():
            found = facts[part].get(name)
            if found != expected:
                raise _contract(f"{part}.{name}", json.dumps(found, ensure_ascii=False), json.dumps(expected))
    if not facts["input"].get(_NEEDED[domain]):
        raise _contract(f"input.{_NEEDED[domain]}", "null", domain)


def _try(onnx: Path, manifest: Path) -> None:
    try:
        model = Model(onnx, manifest)
    except ModelError as error:
        raise ModelRefused("model_unloadable", detail=str(error)) from error
    clouds = model.contract.cloud is not None
    wanted = output_names(classes=bool(model.contract.classes), clouds=clouds)
    if set(model.inputs) != set(INPUT["names"]):
        raise _contract("input.names", ", ".join(model.inputs), ", ".join(INPUT["names"]))
    if set(model.outputs) != set(wanted):
        raise ModelRefused("model_outputs", found=", ".join(model.outputs), expected=", ".join(wanted))
    side = -(-_TRIAL_PX // model.contract.multiple_of) * model.contract.multiple_of
    before, after = np.random.default_rng(0).integers(0, 256, (2, 1, 3, side, side), dtype=np.uint8)
    try:
        seen = model.classes(before, after)[0] if model.contract.classes else model.probabilities(before, after)
    except Exception as error:  # ONNX Runtime raises its own unrelated types
        raise ModelRefused("model_unloadable", detail=str(error)[:300]) from error
    expected = (1, len(output_names(classes=False, clouds=clouds)), side, side)
    if seen.shape != expected or not np.isfinite(seen).all():
        raise ModelRefused("model_outputs", found=str(seen.shape), expected=str(expected))


def _contract(field: str, found: str, expected: str) -> ModelRefused:
    return ModelRefused("model_contract", field=field, found=found[:80], expected=expected)
