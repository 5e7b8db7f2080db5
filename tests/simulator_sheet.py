"""Draws the sheet of docs/training.md: every morphology in made-up tissue.

`python -m tests.simulator_sheet docs/images/simulator.webp`
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cadnode.training.clusters import ClusterRules, Distribution, draw_cluster
from cadnode.training.particles import Morphology
from cadnode.training.simulator import SimulatorSettings, simulate, synthetic_background

PITCH_MM = 0.1
SIDE, CAPTION = 192, 16
COLUMNS = 5
CONTRAST = 18.0
_FITTING = (Distribution.GROUPED, Distribution.SINGLE)


def picture_of(morphology: Morphology) -> Image.Image:
    """One cluster that fits into the picture, seen by a random detector."""
    settings = SimulatorSettings(hard_negatives=False)
    rules = ClusterRules(contrast=(CONTRAST, CONTRAST))
    for seed in range(1000):
        rng = np.random.default_rng((seed, list(Morphology).index(morphology)))
        background = synthetic_background(rng, PITCH_MM)
        row, column = np.argwhere(background.breast).mean(axis=0) * PITCH_MM
        cluster = draw_cluster(rng, float(row), float(column), rules, morphology=morphology)
        if cluster.distribution not in _FITTING:
            continue
        view = simulate(background, rng, settings, clusters=[cluster], turn=False)
        if min(view.visibility) < 10:
            continue
        top, left = (np.median(view.calcifications, axis=0) - SIDE / 2).astype(int)
        patch = view.grey[top : top + SIDE, left : left + SIDE]
        return Image.fromarray(patch.astype(np.uint8))
    raise RuntimeError(f"no visible {morphology}")


def sheet() -> Image.Image:
    """All morphologies with their names."""
    rows = -(-len(Morphology) // COLUMNS)
    whole = Image.new("L", (COLUMNS * (SIDE + 4), rows * (SIDE + CAPTION + 4)), 255)
    pen = ImageDraw.Draw(whole)
    for number, morphology in enumerate(Morphology):
        left = number % COLUMNS * (SIDE + 4)
        top = number // COLUMNS * (SIDE + CAPTION + 4)
        whole.paste(picture_of(morphology), (left, top + CAPTION))
        pen.text((left + 2, top + 1), morphology.value, fill=0)
    return whole


if __name__ == "__main__":
    sheet().save(Path(sys.argv[1]), quality=80)
