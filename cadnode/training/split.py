"""Which patches train and which validate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError
from cadnode.training.options import Split

PATCH_SPLIT_WARNING = (
    "split by patch: patches of one patient are on both sides, so every validation figure is too"
    " good; use it only to reproduce the published protocol"
)


def split_patches(
    patients: Sequence[str], *, share: float, split: Split, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices to train on and to validate on; a fixed seed gives the same ones.

    By patient, whole patients go to validation until it holds `share` of the patches. Raises
    ConfigError when that leaves one side empty.
    """
    rng = np.random.default_rng(seed)
    count = len(patients)
    if split == "patch":
        order = rng.permutation(count)
        held = max(1, round(share * count))
        return np.sort(order[held:]), np.sort(order[:held])
    names, member = np.unique(np.array(patients), return_inverse=True)
    if len(names) < 2:
        raise ConfigError("a split by patient needs at least two patients")
    held_out: list[int] = []
    for patient in rng.permutation(len(names)):
        if held_out and np.isin(member, held_out).sum() >= share * count:
            break
        held_out.append(int(patient))
    validating = np.isin(member, held_out)
    if validating.all():
        raise ConfigError("the validation share leaves no patient to train on")
    return np.flatnonzero(~validating), np.flatnonzero(validating)
