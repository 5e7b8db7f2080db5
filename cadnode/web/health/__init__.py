"""For machines: is the node alive, can it work, and its numbers for Prometheus."""

from __future__ import annotations

from cadnode.web.health.routes import api, pages

__all__ = ["api", "pages"]
