"""The page of the day over this node."""

from __future__ import annotations

import threading
from time import monotonic

from cadnode.app import App
from cadnode.core.node_status import NodeStatus
from cadnode.status import StatusReader
from cadnode.store import Store

FRESH_SECONDS = 2.0
"""Many browsers that refresh together cost one look at the database in this time."""


class NodeToday:
    """`Today` of cadnode.web.today.ports."""

    def __init__(self, app: App, store: Store) -> None:
        self._reader = StatusReader(app, store)
        self._lock = threading.Lock()
        self._known: tuple[float, NodeStatus] | None = None

    def status(self) -> NodeStatus:
        """As it stands now, at most two seconds old. Raises DatabaseUnavailable."""
        with self._lock:
            if self._known is None or monotonic() - self._known[0] >= FRESH_SECONDS:
                found = self._reader.status()
                self._known = (monotonic(), found)
            return self._known[1]
