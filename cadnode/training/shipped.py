"""How calc-resnet50 is made: simulated calcifications in the films of one patient and a Siemens view.

The stages, and the places in the sources that may hold real calcifications, are the recipe; the
images themselves are not in the repository. `python -m tests.train_shipped` runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.annotations import Annotation
from cadnode.training.clusters import ClusterRules
from cadnode.training.fit import StepProgress, fit, logits
from cadnode.training.hard_patches import HardPatches
from cadnode.training.network import build, load_weights
from cadnode.training.options import FitOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.simulated_patches import Choose, fill
from cadnode.training.simulator import Background, SimulatorSettings
from cadnode.training.speed import SpeedOptions


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the training; each starts from the weights of the one before."""

    name: str
    options: FitOptions
    patches: int = 14_000
    cache_seed: int = 11
    """Stages of one seed share one cache."""
    simulator: SimulatorSettings = field(default_factory=SimulatorSettings)
    easy_share: float = 1.0
    """Below 1 only this share is kept of the patches that the weights so far get right."""
    calcification_share: float | None = None
    """As of HardPatches."""
    start: str = ""
    """The stage it goes on from; empty is the one before."""
    averaged_with: tuple[str, ...] = ()
    """Stages whose weights are averaged with what comes out: a network between two that were
    trained one from the other is better than either on images like neither's (M. Wortsman et
    al., Robust fine-tuning of zero-shot models, CVPR 2022)."""

    @property
    def summary(self) -> str:
        """For a manifest."""
        steps = (self.options.steps_per_epoch or 0) * self.options.epochs
        return f"{self.options.side} px x {steps} updates"


_BASE = FitOptions(steps_per_epoch=20, schedule="cosine", average=0.99)
_WHOLE = replace(_BASE, side=224, batch=16, learning_rate=1.5e-4)
_LAST = replace(_WHOLE, learning_rate=2e-4)
_FAINT = SimulatorSettings(
    rules=ClusterRules(contrast=(3.0, 45.0), tight_share=0.5), grain=True, together=True
)
"""More at the limit of what can be seen, above all at coarse pitches."""
_VISIBLE_WHOLE = "whole patches, visible calcifications only"
_FAINT_WHOLE = "whole patches, faint and hard ones"
_HARD_NORMALS = "hard normal ones"
STAGES = (
    Stage("parts of 96", replace(_BASE, side=96, learning_rate=5e-4, epochs=24)),
    Stage("parts of 128", replace(_BASE, side=128, learning_rate=3e-4, epochs=14, seed=7)),
    Stage("whole patches", replace(_WHOLE, epochs=18, seed=9)),
    Stage("whole patches, again", replace(_LAST, epochs=7, seed=21)),
    Stage("other patches", replace(_WHOLE, epochs=7, seed=33), patches=2_600, cache_seed=51),
    Stage("more patches", replace(_LAST, epochs=90, seed=91), patches=12_000, cache_seed=101),
    Stage(
        "parts of 128, visible calcifications only",
        replace(_BASE, side=128, learning_rate=4e-4, epochs=75, seed=301),
        patches=12_695,
        cache_seed=201,
    ),
    Stage(
        _VISIBLE_WHOLE,
        replace(_LAST, epochs=100, seed=302),
        patches=12_000,
        cache_seed=202,
    ),
    Stage(
        "parts of 128, faint and hard ones",
        replace(_BASE, side=128, learning_rate=3e-4, epochs=60, seed=401),
        patches=8_000,
        cache_seed=301,
        simulator=_FAINT,
        easy_share=0.3,
    ),
    Stage(
        _FAINT_WHOLE,
        replace(_LAST, epochs=80, seed=402),
        patches=8_000,
        cache_seed=302,
        simulator=_FAINT,
        easy_share=0.3,
        averaged_with=(_VISIBLE_WHOLE,),
    ),
    Stage(
        _HARD_NORMALS,
        replace(_WHOLE, epochs=40, seed=411),
        patches=4_731,
        cache_seed=303,
        simulator=_FAINT,
        easy_share=0.15,
        calcification_share=0.2,
    ),
    Stage(
        "other hard normal ones",
        replace(_WHOLE, epochs=40, seed=412),
        patches=4_605,
        cache_seed=304,
        simulator=_FAINT,
        easy_share=0.15,
        calcification_share=0.2,
        start=_FAINT_WHOLE,
        averaged_with=(_FAINT_WHOLE, _HARD_NORMALS),
    ),
)
"""Small parts first: on two CPU cores many small steps teach more than few large ones.

Version 0.3.0 differs in this: stages 1 to 6 were trained on an earlier simulator (a fifth of the
tissue made up, in stage 6 three tenths; what could be seen was not measured), and the first stage
had a warm-up of 100 updates, and hard patches were chosen by int8 scores. Version 0.2.0 ends
after the eighth.
"""
FILM_PITCH_MM = 0.05
UNSURE_FILM: Mapping[str, tuple[Annotation, ...]] = {
    "lcc": (Annotation(((184, 2148),), 50),),
    "lmlo": (Annotation(((788, 1612),), 50),),
    "rcc": (Annotation(((1984, 1824),), 220),),
    "rmlo": (),
}
"""By view of `sfm-malign-0`, the patient trained on: where something may be calcium."""
UNSURE_HELD_OUT: Mapping[str, tuple[Annotation, ...]] = {
    "lcc": (),
    "lmlo": (Annotation(((260, 3736),), 140),),
    "rcc": (),
    "rmlo": (),
}
"""The same of `sfm-benign-0`, which is for measuring."""
UNSURE_SIEMENS = (
    Annotation(((300, 408), (494, 408), (494, 626), (300, 626))),
    Annotation(((776.5, 614),), 26),
)
"""Two clusters and a round body."""
UNSURE_GE = (
    Annotation(((1791, 1956),), 25),
    Annotation(((1825, 1709),), 25),
    Annotation(((2016, 1309),), 15),
)
"""In the GE view, which is for measuring: two round bodies and a bright speck."""


def _choose(stage: Stage, weights: Path) -> Choose | None:
    if stage.easy_share >= 1:
        return None
    model = build()
    load_weights(model, _read(weights))
    return HardPatches(
        lambda patches: logits(model, patches), stage.easy_share, stage.calcification_share
    )


def train_on_simulated(
    backgrounds: Iterable[Background],
    starting_weights: Path,
    run: Path,
    *,
    stages: Sequence[Stage] = STAGES,
    settings: SimulatorSettings | None = None,
    speed: SpeedOptions | None = None,
    progress: StepProgress = lambda done, total, loss: None,
) -> dict[str, NDArray[np.float32]]:
    """The weights after all stages. Called again after a kill it goes on where it was.

    There is no validation split here: the held-out patients are other backgrounds, measured
    afterwards.
    """
    tissue = list(backgrounds)
    before = starting_weights
    results: dict[str, Path] = {}
    weights: dict[str, NDArray[np.float32]] = {}
    for number, stage in enumerate(stages):
        folder = run / f"stage{number + 1}"
        start = results[stage.start] if stage.start else before
        cache = PatchCache(run / f"cache-{stage.cache_seed}", patch_size=224, map_size=7)
        fill(
            cache,
            tissue,
            settings or stage.simulator,
            count=stage.patches,
            seed=stage.cache_seed,
            choose=_choose(stage, start),
        )
        options = replace(stage.options, starting_weights=start)
        weights = fit(
            cache,
            folder,
            options,
            progress=progress,
            held_out=np.empty(0, np.intp),
            speed=speed,
        ).weights
        weights = _mean([weights, *(_read(results[name]) for name in stage.averaged_with)])
        before = results[stage.name] = folder / "weights.npz"
        np.savez(before, allow_pickle=False, **weights)
    return weights


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(path) as arrays:
        return dict(arrays)


def _mean(networks: Sequence[Mapping[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    return {
        name: np.mean([arrays[name] for arrays in networks], axis=0, dtype=np.float32)
        for name in networks[0]
    }
