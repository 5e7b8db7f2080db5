"""The first page: how the node is doing today, and what is wrong."""

from __future__ import annotations

from cadnode.web.today.api import api
from cadnode.web.today.pages import pages

__all__ = ["api", "pages"]
