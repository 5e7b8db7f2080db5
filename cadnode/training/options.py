"""Every number of a training run, with the paper's as defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cadnode.training.speed import SpeedOptions

Split = Literal["patient", "patch"]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How the network is trained. The defaults are the published protocol (Kahnouei et al. 2022).

    The published method has no localisation map: `cells_weight` above 0 trains one beside the
    patch head where the truth says where in a patch the calcifications are.
    """

    frozen_layers: int = 100
    learning_rate: float = 1e-4
    batch: int = 32
    epochs: int = 120
    validation_share: float = 0.05
    side: int = 224
    """Pixels of the patches trained on; below the cached size, parts are cut on cell borders."""
    cells_weight: float = 1.0
    augment: bool = True
    """The eight symmetries and small changes of gain and offset."""
    split: Split = "patient"
    seed: int = 0
    steps_per_epoch: int | None = None
    """Batches an epoch; None is one pass over the calcification patches and as many normal ones."""
    schedule: Literal["constant", "cosine"] = "constant"
    average: float = 0.0
    """Momentum of the moving average of the weights; 0 keeps the last weights."""
    starting_weights: Path | None = None
    """An .npz of `layer/variable` arrays, or a bundle's folder; None starts from random numbers."""

    def as_settings(self) -> dict[str, Any]:
        """Plain values for a manifest; the path becomes the file's name, or the bundle's."""
        values = asdict(self)
        start = self.starting_weights
        values["starting_weights"] = start.name if start else ""
        if start and start.is_dir():
            values["starting_weights"] = f"{start.resolve().parent.name} {start.resolve().name}"
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How images become patches."""

    patch_size: int = 224
    map_size: int = 7
    pitch_mm: float = 0.1
    stride: int = 176
    normalisation: str = "local-contrast"
    normals_per_image: int = 24
    """Normal patches kept of one image, at most, drawn at random."""
    shifts: int = 4
    """Patches cut about each annotated cluster, at random offsets."""
    simulated: int = 0
    """Patches cut besides of each image after simulated clusters were inserted into it; about half
    of them hold calcifications."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """Name and operating points of the bundle that comes out."""

    name: str
    version: str
    thresholds: tuple[float, ...] = ()
    """By operating point, falling; empty takes the slope-1 point of the validation patches."""
    recommended: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One `cadnode train`."""

    models: Path
    """The bundle goes to models/NAME/VERSION."""
    run: Path
    """Cache, checkpoints and logs; the same folder again resumes."""
    bundle: BundleOptions
    fit: FitOptions = field(default_factory=FitOptions)
    cut: CutOptions = field(default_factory=CutOptions)
    speed: SpeedOptions = field(default_factory=SpeedOptions)
