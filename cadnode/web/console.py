"""What the console may ask of the node: one field for each feature, filled by cadnode.console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cadnode.web.today.ports import Today


@dataclass(frozen=True, slots=True)
class Console:
    """The node as the pages see it."""

    station_name: str
    version: str
    """Of the program."""
    clock: Callable[[], datetime]
    today: Today
