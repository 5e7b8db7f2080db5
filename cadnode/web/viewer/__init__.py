"""One exam: its views with their marks, its history, its results, and what to take away."""

from __future__ import annotations

from cadnode.web.viewer.api import api
from cadnode.web.viewer.pages import pages

__all__ = ["api", "pages"]
