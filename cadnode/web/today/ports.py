"""What the page of the day asks of the node."""

from __future__ import annotations

from typing import Protocol

from cadnode.core.node_status import NodeStatus


class Today(Protocol):
    """How the node is doing."""

    def status(self) -> NodeStatus:
        """As it stands now, at most two seconds old. Raises DatabaseUnavailable."""
        ...
