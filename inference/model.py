"""Released weights, run by ONNX Runtime: windows in, calibrated probabilities out."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model import CLASS_OUTPUTS, CLOUD_STRIDE, OUTPUTS, output_names

BUNDLED = Path(str(files("model"))) / "weights"
"""Where the weights are that come with Jingdi."""

FINEST_SCORED_M = 0.4
"""Overhead imagery that is finer is scored at so many metres per pixel: labelled change was seen at 0.5, and enlarged
to 0.25 fewer objects are found and more falsely (`python -m tests.benchmarks.resolution`)."""


class ModelError(RuntimeError):
    """The weights or their manifest are missing, damaged or do not belong together."""


def open_session(weights: bytes, threads: int) -> ort.InferenceSession:
    """Weights ready to run on the CPU, with so many threads; 0 for one per core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # the graph is one chain; parallel branches only fight for the cores
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Threads that spin between calls take the cores from decoding and from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Batch and window vary, so a memory plan made for one shape is kept for nothing.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _range(values: list[float] | None) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _enlarged(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 1, H / 8, W / 8) -> (N, 1, H, W). By the network it would take a twentieth of its time."""
    size = (logits.shape[3] * CLOUD_STRIDE, logits.shape[2] * CLOUD_STRIDE)
    return np.stack([cv2.resize(each[0], size, interpolation=cv2.INTER_LINEAR)[None] for each in logits])


def corrected(probability: float, slope: float, offset: float) -> float:
    """A probability with its logit z replaced by `slope * z + offset`."""
    if (slope, offset) == (1.0, 0.0):
        return probability
    p = min(max(probability, 1e-6), 1 - 1e-6)
    return 0.5 * (1 + math.tanh(0.5 * (slope * math.log(p / (1 - p)) + offset)))


@dataclass(frozen=True, slots=True)
class Contract:
    """What the manifest says of the input and of how to read the output."""

    multiple_of: int
    gsd_range_m: tuple[float, float] | None
    """Metres per pixel of the overhead imagery these weights know; None for photographs."""
    temperature: dict[str, float]
    threshold: dict[str, float]
    change_peak: float
    """A changed patch counts only where its probability reaches this (see model.decision)."""
    change_mean: float
    """A changed patch counts only if its mean probability, its rim left out, reaches this."""
    area_error_px: float
    """Standard error of a finding's area per pixel of its outline, pixels."""
    change_rim: int = 0
    """Width of the rim that the mean of a patch leaves out, pixels; 0 for weights released before there was one."""
    long_side: int | None = None
    """Photographs are scored at this long side, pixels; None for overhead imagery, which is scored as it is."""
    classes: tuple[str, ...] = ()
    """What is told apart at each date besides structure or not; empty where nothing is."""
    cloud: float | None = None
    """Probability of cloud from which the ground counts as hidden; None for weights that tell no clouds."""
    findings: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By `change` and `remaining`: slope and offset that turn the logit of a patch's mean probability into that of the
    patch being right (Platt 1999). A patch is right or wrong as a whole, which its pixels cannot know."""

    @property
    def change_least(self) -> tuple[float, float, int]:
        """What a changed patch must reach, as `model.decision.hysteresis` takes it after the threshold."""
        return self.change_peak, self.change_mean, self.change_rim

    def finding_probability(self, kind: str, mean: float) -> float:
        """Probability that a finding of this kind is right, from its mean within the rim, both 0..1."""
        return corrected(mean, *self.findings.get("remaining" if kind == "remaining" else "change", (1.0, 0.0)))

    def overhead_gsd_range(self) -> tuple[float, float]:
        """`gsd_range_m` of weights for overhead imagery.

        Raises:
            ModelError: the weights are for photographs.
        """
        if self.gsd_range_m is None:
            raise ModelError("these weights are for photographs; overhead imagery needs those of the domain `overhead`")
        return self.gsd_range_m


class Model:
    """One set of weights. Safe to use from several threads: a session may be run concurrently.

    Attributes:
        name, version, sha256: which weights these are, for every verdict and record.
        contract: input contract, calibration and thresholds.
    """

    def __init__(self, onnx: Path, manifest: Path, *, threads: int = 0) -> None:
        """Load and verify.

        Raises:
            ModelError: a file is missing or damaged, or the weights are not those of the manifest.
        """
        try:
            facts: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
            weights = onnx.read_bytes()
            self.name, self.version = str(facts["name"]), str(facts["version"])
            self.sha256 = str(facts["sha256"])
            self.contract = Contract(
                multiple_of=int(facts["input"]["multiple_of"]),
                gsd_range_m=_range(facts["input"].get("gsd_range_m")),
                long_side=facts["input"].get("long_side"),
                classes=tuple(facts["output"].get("classes", ())),
                temperature={k: float(facts["calibration"]["temperature"][k]) for k in OUTPUTS},
                threshold={k: float(facts["calibration"]["threshold"][k]) for k in OUTPUTS},
                change_peak=float(facts["calibration"]["change_peak"]),
                change_mean=float(facts["calibration"].get("change_mean", 0.0)),
                change_rim=int(facts["calibration"].get("change_rim", 0)),
                area_error_px=float(facts["calibration"]["area_error_px"]),
                cloud=_number(facts["calibration"].get("cloud")),
                findings={k: (float(a), float(b)) for k, (a, b) in facts["calibration"].get("findings", {}).items()},
            )
        except OSError as error:
            raise ModelError(f"cannot read the weights: {error}") from error
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise ModelError(f"{manifest} is not a manifest of this version: {error!r}") from error
        found = hashlib.sha256(weights).hexdigest()
        if found != self.sha256:
            raise ModelError(f"{onnx} is not what its manifest describes: sha256 {found[:12]}, not {self.sha256[:12]}")
        try:
            self._session = open_session(weights, threads)
        except Exception as error:  # ONNX Runtime raises its own unrelated types
            raise ModelError(f"{onnx} cannot be loaded: {error}") from error

    @classmethod
    def load(cls, domain: str = "overhead", *, threads: int = 0) -> Model:
        """The weights that come with Jingdi."""
        return cls(BUNDLED / f"{domain}.onnx", BUNDLED / f"{domain}.json", threads=threads)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the file itself calls its inputs."""
        return tuple(each.name for each in self._session.get_inputs())

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the file itself calls its outputs."""
        return tuple(each.name for each in self._session.get_outputs())

    def logits(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Raw outputs for a batch of windows.

        Args:
            before, after: (N, 3, H, W) uint8 RGB, H and W multiples of `contract.multiple_of`.

        Returns:
            (N, 1, H, W) float32 each, in the order of `OUTPUTS`; of weights that tell clouds `CLOUD_OUTPUTS` besides,
            (N, 1, H / 8, W / 8).
        """
        names = output_names(classes=False, clouds=self.contract.cloud is not None)
        return tuple(self._session.run(list(names), {"before": before, "after": after}))

    def probabilities(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities (N, 3 or 5, H, W) float32 in the order of `logits`, for inputs as there."""
        logits = self.logits(before, after)
        clouds = [_enlarged(each) for each in logits[len(OUTPUTS) :]]
        return self._calibrated(np.concatenate([*logits[: len(OUTPUTS)], *clouds], axis=1))

    def classes(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities as of `probabilities`, and those of the classes of each date, from one run.

        Returns:
            (N, 3, H, W) float32, and (N, 2, K, H, W) float32, K as in `contract.classes`, which sum to 1 over K.

        Raises:
            ModelError: these weights tell no classes apart.
        """
        if not self.contract.classes:
            raise ModelError(f"{self.name} tells no classes apart; load the weights of the domain `ground`")
        out = self._session.run([*OUTPUTS, *CLASS_OUTPUTS], {"before": before, "after": after})
        logits = np.stack(out[3:], axis=1)
        powers = np.exp(logits - logits.max(axis=2, keepdims=True))
        return self._calibrated(np.concatenate(out[:3], axis=1)), powers / powers.sum(axis=2, keepdims=True)

    def _calibrated(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        scale = np.array([1 / self.contract.temperature[k] for k in OUTPUTS], dtype=np.float32)
        logits[:, : len(OUTPUTS)] *= scale[:, None, None]
        np.clip(logits, -30, 30, out=logits)
        # In place: of a window of a scan each copy takes 20 MB.
        np.exp(np.negative(logits, out=logits), out=logits)
        logits += 1
        return np.divide(np.float32(1), logits, out=logits)
