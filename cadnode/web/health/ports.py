"""What monitoring asks of the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cadnode.core.readiness import Readiness
from cadnode.web.access.caller import Network


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """One answer to a scrape."""

    content: bytes
    content_type: str


class Health(Protocol):
    """The node's answers to machines. None of them raises for a node that is not well."""

    @property
    def open_to(self) -> Sequence[Network]:
        """From where no token is needed."""
        ...

    def readiness(self) -> Readiness:
        """What the node can do at this moment."""
        ...

    def metrics(self, accept: str) -> MetricsPage:
        """Every number, in the format that the request header `accept` prefers."""
        ...
