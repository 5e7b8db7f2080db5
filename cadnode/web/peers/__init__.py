"""What is in force and where it came from; whom the node talks to, and whether they answer."""

from __future__ import annotations

from cadnode.web.peers.api import api
from cadnode.web.peers.pages import pages

__all__ = ["api", "pages"]
