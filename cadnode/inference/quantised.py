"""What int8 needs: the kernels rounded, and how high the result of each step goes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadnode.inference.folded import POOL, STAGES

STEPS = (
    POOL,
    *(
        f"conv{stage}_block{block}_{index}_conv"
        for stage, blocks, _, _ in STAGES
        for block in range(1, blocks + 1)
        for index in (1, 2, 3)
    ),
)[:-1]
"""Names of the steps whose results are kept in eight bits: all that a ReLU leaves and another
convolution takes. The heads get the last one as it is."""
LEVELS = 255
"""Above zero, of a result; there is nothing below zero after a ReLU."""
_LARGEST = 127
"""Of a kernel's value in int8, the same on both sides of zero."""


def rounded(
    kernel: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A kernel (channels out, channels in, rows, columns) in int8, and the size of a level of each
    channel out: their product is within half a level of the kernel."""
    scale = np.abs(kernel).max(axis=(1, 2, 3)) / np.float32(_LARGEST)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    levels = np.round(kernel / scale[:, None, None, None])
    return np.clip(levels, -_LARGEST, _LARGEST).astype(np.int8), scale
