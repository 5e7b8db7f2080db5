"""What the console may ask of the node: one field for each feature, filled by cadnode.console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cadnode.web.access.ports import Access

if TYPE_CHECKING:
    from cadnode.web.exams.ports import Exams
    from cadnode.web.health.ports import Health
    from cadnode.web.model.ports import ModelDesk
    from cadnode.web.peers.ports import Peers
    from cadnode.web.today.ports import Today
    from cadnode.web.viewer.ports import Viewer


@dataclass(frozen=True, slots=True)
class Console:
    """The node as the pages see it."""

    station_name: str
    version: str
    """Of the program."""
    clock: Callable[[], datetime]
    access: Access
    today: Today
    peers: Peers
    health: Health
    viewer: Viewer
    model: ModelDesk
    exams: Exams
