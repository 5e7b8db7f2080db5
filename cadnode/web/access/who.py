"""Who is asking: the dependencies that routes name to say which role they need."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from cadnode.core.accounts import LOCALHOST, Means, Role, User
from cadnode.core.errors import NotAllowed, NotSignedIn
from cadnode.web.access.cookies import SESSION, caller_of, cookie
from cadnode.web.access.ports import Access

PASSIVE = "X-Passive"
"""Header of requests that a page makes by itself: they do not keep a session from ending."""

_bearer = HTTPBearer(
    auto_error=False, description="A token from the page My account or `cadnode tokens add`."
)


def access_of(request: Request) -> Access:
    """What the node says about its users."""
    access: Access = request.app.state.console.access
    return access


def viewer(request: Request, _described: Annotated[object, Depends(_bearer)]) -> User:
    """Whoever is signed in. Raises NotSignedIn."""
    user = asking(request)
    if user is None:
        raise NotSignedIn("sign in first" if "cookie" in request.headers else "nobody is signed in")
    return user


def operator(user: Annotated[User, Depends(viewer)]) -> User:
    """Whoever is signed in and may decide about exams. Raises NotSignedIn, NotAllowed."""
    return _at_least(user, Role.OPERATOR)


def admin(user: Annotated[User, Depends(viewer)]) -> User:
    """Whoever is signed in and may change accounts. Raises NotSignedIn, NotAllowed."""
    return _at_least(user, Role.ADMIN)


def person(user: Annotated[User, Depends(viewer)]) -> User:
    """Whoever has signed in themselves. Raises NotSignedIn, NotAllowed.

    A token cannot make further tokens: whoever revokes it shall be rid of it.
    """
    if user.means is not Means.SESSION:
        raise NotAllowed("this is for users who have signed in with a browser")
    return user


def asking(request: Request) -> User | None:
    """Who is asking; None when nobody is signed in. Where there is a token, only it counts."""
    access = access_of(request)
    user: User | None
    if "authorization" in request.headers:
        scheme, token = get_authorization_scheme_param(request.headers["authorization"])
        user = access.holder(token) if scheme.lower() == "bearer" else None
    elif secret := cookie(request, SESSION):
        user = access.signed_in(secret, used=PASSIVE not in request.headers)
    else:
        user = None
    if user is None and "authorization" not in request.headers:
        user = _at_the_machine(request, access)
    request.state.user = user
    return user


def _at_the_machine(request: Request, access: Access) -> User | None:
    if caller_of(request).local and access.open_to_localhost():
        return User(LOCALHOST, Role.ADMIN, Means.LOCALHOST)
    return None


def _at_least(user: User, role: Role) -> User:
    if user.role < role:
        raise NotAllowed(f"this needs the role {role.name.lower()}")
    return user
