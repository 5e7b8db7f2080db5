"""Sign-in, my account, and the users: their pages, and the same as JSON."""

from __future__ import annotations

from cadnode.web.accounts.api import api
from cadnode.web.accounts.pages import pages

__all__ = ["api", "pages"]
