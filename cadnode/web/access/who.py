"""Who is asking: the dependencies that routes name to say which role they need."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from starlette.status import HTTP_403_FORBIDDEN

from cadnode.core.accounts import Role, User

_LOOPBACK = frozenset({"127.0.0.1", "::1", "testclient"})


def viewer(request: Request) -> User:
    """Whoever is signed in."""
    if request.client is None or request.client.host not in _LOOPBACK:
        raise HTTPException(HTTP_403_FORBIDDEN, "Nobody may come in from another machine yet.")
    user = User("localhost", Role.ADMIN)
    request.state.user = user
    return user


def operator(user: Annotated[User, Depends(viewer)]) -> User:
    """Whoever is signed in and may decide about exams."""
    return _at_least(user, Role.OPERATOR)


def admin(user: Annotated[User, Depends(viewer)]) -> User:
    """Whoever is signed in and may change accounts."""
    return _at_least(user, Role.ADMIN)


def _at_least(user: User, role: Role) -> User:
    if user.role < role:
        raise HTTPException(HTTP_403_FORBIDDEN, f"This needs the role {role.name.lower()}.")
    return user
