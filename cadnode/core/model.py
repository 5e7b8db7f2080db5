"""What a model says about itself, and what it answers: plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadnode.core.exam import Algorithm


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a model wants its pixels and how its scores are to be read (from its manifest)."""

    name: str
    version: str
    patch_size: int
    """Patches are squares of this many pixels at the model's pitch."""
    stride: int
    """Distance between patch origins, in pixels at the model's pitch."""
    pitch_mm: float
    """Pixel pitch at which the model was trained; every image is resampled to it."""
    normalisation: str
    """Name of the intensity normalisation in `core.intensity` applied to a resampled image."""
    thresholds: tuple[float, ...]
    """Score thresholds by CAD operating point: index 0 is the strictest, falling from there."""
    recommended: int
    """The operating point shown by default."""
    map_size: int
    """Cells per side of the localisation map of one patch (7: one cell is 32 pixels)."""

    def operating_point(self, score: float) -> int | None:
        """The lowest operating point at which `score` is shown, or None below all of them."""
        for index, threshold in enumerate(self.thresholds):
            if score >= threshold:
                return index
        return None


@dataclass(frozen=True, slots=True, eq=False)
class PatchScores:
    """The answer for n patches."""

    probability: NDArray[np.float32]
    """Shape (n,): probability that the patch holds calcifications."""
    maps: NDArray[np.float32]
    """Shape (n, map_size, map_size), 0..1: where in the patch they are."""


FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"


def marks_in_float32(quick: str) -> str:
    """The name of: every patch in `quick`, and what may become a mark again in float32."""
    return f"{quick}, marks in {FLOAT32}"


SCREENED = frozenset(marks_in_float32(quick) for quick in (BFLOAT16, INT8))


@dataclass(frozen=True, slots=True)
class RunsOn:
    """What a loaded model really computes on, whatever the settings asked for."""

    device: str
    """`CPU`, or the name of the accelerator."""
    precision: str
    """FLOAT32, BFLOAT16 or one of SCREENED."""
    runtime: str = ""
    """The library that computes, with its version."""
    why: str = ""
    """Why this one and not another."""

    @property
    def place(self) -> str:
        """The device, and the library that computes there."""
        return f"{self.device}, {self.runtime}" if self.runtime else self.device

    @property
    def text(self) -> str:
        """All of it, for a person."""
        return f"{self.place} in {self.precision}{f' ({self.why})' if self.why else ''}"


def model_label(spec: ModelSpec) -> str:
    """How a model is named in the database."""
    return f"{spec.name} {spec.version}"


def algorithm(spec: ModelSpec, manufacturer: str) -> Algorithm:
    """How a model is named in the result objects (TID 4019)."""
    return Algorithm(
        name=spec.name,
        version=spec.version,
        manufacturer=manufacturer,
        parameters=(
            f"patch {spec.patch_size} px at {spec.pitch_mm:g} mm, stride {spec.stride} px",
            "thresholds " + ", ".join(f"{threshold:.4f}" for threshold in spec.thresholds),
        ),
        maximum_operating_point=len(spec.thresholds) - 1,
        recommended_operating_point=spec.recommended,
    )
