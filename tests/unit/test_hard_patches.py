"""Patches that a network gets wrong are kept, of the others a share."""

from __future__ import annotations

import numpy as np

from cadnode.training.hard_patches import HardPatches
from cadnode.training.labels import NO, YES

LABELS = np.array([YES, YES, NO, NO] * 250, np.uint8)
LOGITS = np.array([5.0, 0.0, -5.0, 1.0] * 250)
"""Right, wrong, right, wrong."""
PATCHES = np.zeros((len(LABELS), 4, 4), np.float32)


def kept(easy_share: float) -> np.ndarray:
    chooser = HardPatches(lambda patches: LOGITS[: len(patches)], easy_share)
    return chooser(PATCHES, LABELS, np.random.default_rng(1))


def test_every_hard_patch_of_either_kind_is_kept_whatever_the_share_of_the_easy_ones() -> None:
    for share in (0.0, 0.3):
        assert kept(share)[1::2].all()


def test_of_the_easy_ones_the_share_is_kept() -> None:
    assert not kept(0.0)[0::2].any()
    assert 0.2 < kept(0.3)[0::2].mean() < 0.4
    assert kept(1.0).all()


def test_a_calcification_scored_just_above_a_half_is_still_hard() -> None:
    chooser = HardPatches(lambda patches: np.array([0.5]), 0.0)
    assert chooser(PATCHES[:1], LABELS[:1], np.random.default_rng(1)).all()


def test_calcifications_may_be_kept_by_chance_alone_without_being_scored() -> None:
    seen: list[int] = []

    def score(patches: np.ndarray) -> np.ndarray:
        seen.append(len(patches))
        return LOGITS.reshape(-1, 4)[:, 2:].ravel()

    chooser = HardPatches(score, 0.0, calcification_share=0.25)
    found = chooser(PATCHES, LABELS, np.random.default_rng(1))
    assert seen == [len(LABELS) // 2]
    assert 0.2 < found[LABELS == YES].mean() < 0.3


def test_nothing_is_scored_where_there_are_only_calcifications() -> None:
    def never(patches: np.ndarray) -> np.ndarray:
        raise AssertionError

    chooser = HardPatches(never, 0.0, calcification_share=1.0)
    assert chooser(PATCHES[:1], LABELS[:1], np.random.default_rng(1)).all()
