"""The model: what it is, whether it is whole, what was measured of it, whether it has moved."""

from __future__ import annotations

from cadnode.web.model.api import api
from cadnode.web.model.pages import pages

__all__ = ["api", "pages"]
