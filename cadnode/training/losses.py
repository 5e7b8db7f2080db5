"""Binary cross entropy that leaves out what is unknown."""

from __future__ import annotations

from typing import Any

from keras import ops

CELL_POSITIVE_WEIGHT = 2.0
"""Cells with calcifications are few; this much more for each."""


def patch_loss(truth: Any, logit: Any) -> Any:
    """Mean binary cross entropy over the patches that are known."""
    return _masked(truth, logit, 1.0)


def cell_loss(truth: Any, logit: Any) -> Any:
    """Mean binary cross entropy over the cells that are known."""
    return _masked(truth, logit, CELL_POSITIVE_WEIGHT)


def _masked(truth: Any, logit: Any, positive: float) -> Any:
    truth = ops.cast(truth, "float32")
    logit = ops.cast(logit, "float32")
    known = ops.cast(truth <= 1.0, "float32")
    target = truth * known
    each = ops.softplus(logit) - target * logit
    weight = known * (1.0 + (positive - 1.0) * target)
    return ops.sum(each * weight) / (ops.sum(weight) + 1e-6)
