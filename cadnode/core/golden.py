"""The golden example of a model, computed again: a value for each time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """What came of one recomputation."""

    at: datetime
    actor: str
    """Who asked for it."""
    model: str
    """Name and version."""
    well: bool
    difference: float | None
    """The largest difference of a score; None when there was no score to compare."""
    text: str
    """One plain sentence."""
    seconds: float
    """How long it took."""
