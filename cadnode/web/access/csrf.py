"""Nobody but our own pages may have a browser change something (cross-site request forgery)."""

from __future__ import annotations

from fastapi import Request


def token_of(request: Request) -> str:
    """The token that belongs to the session of `request`; empty without one."""
    return str(getattr(request.state, "csrf_token", ""))
