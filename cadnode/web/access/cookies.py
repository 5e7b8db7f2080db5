"""The cookies of the console.

Over TLS their names begin with `__Host-`: no other site, not even one of the same domain, can set
them. Scripts never see them, and requests that begin at another site come without them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders

from cadnode.web.access.caller import Caller

FRESH_VISIT = "fresh_visit"
"""Where a request keeps the visit that begins with it."""

SESSION, VISIT, DEPARTURE = "session", "visit", "departure"

DEPARTURE_TIME = timedelta(minutes=10)
"""For signing in at the identity provider."""


def caller_of(request: Request) -> Caller:
    """Where the request comes from, as the guard has found out."""
    caller: Caller = request.state.caller
    return caller


def cookie(request: Request, kind: str) -> str:
    """What the browser keeps; empty when it keeps nothing."""
    return request.cookies.get(_name(kind, caller_of(request)), "")


def set_cookie(
    response: Response,
    kind: str,
    value: str,
    caller: Caller,
    *,
    lasts: timedelta | None = None,
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    """Have the browser keep `value`: until it is closed, or for so long."""
    response.set_cookie(
        _name(kind, caller),
        value,
        max_age=None if lasts is None else int(lasts.total_seconds()),
        path="/",
        secure=caller.secure,
        httponly=True,
        samesite=same_site,
    )


def forget(response: Response, kind: str, caller: Caller) -> None:
    """Have the browser forget it."""
    response.delete_cookie(
        _name(kind, caller), path="/", secure=caller.secure, httponly=True, samesite="strict"
    )


def set_visit(headers: MutableHeaders, value: str, caller: Caller) -> None:
    """Add the cookie of a visit to an answer that is on its way."""
    carrier = Response()
    set_cookie(carrier, VISIT, value, caller)
    headers.append("Set-Cookie", carrier.headers["set-cookie"])


def _name(kind: str, caller: Caller) -> str:
    return f"__Host-cadnode_{kind}" if caller.secure else f"cadnode_{kind}"
