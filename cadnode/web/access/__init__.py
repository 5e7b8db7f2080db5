"""Who is asking, and may they: `viewer`, `operator` and `admin` are dependencies of routes."""

from __future__ import annotations

from cadnode.core.accounts import Role, User
from cadnode.web.access.who import admin, operator, viewer

__all__ = ["Role", "User", "admin", "operator", "viewer"]
