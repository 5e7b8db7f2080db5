"""Nobody but our own pages may have a browser change something (cross-site request forgery).

Pages hold a token made from a cookie that no script and no other site can read: of the session, or
before somebody has signed in, of the visit. What changes something brings the token along, in the
header `X-CSRF-Token` or the field `csrf_token`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from fastapi import Request

from cadnode.core.errors import NotAllowed, NotSignedIn
from cadnode.web.access.cookies import FRESH_VISIT, SESSION, VISIT, cookie
from cadnode.web.access.guard import SAFE_METHODS

HEADER, FIELD = "X-CSRF-Token", "csrf_token"
_FORM = "application/x-www-form-urlencoded"


def token_of(request: Request) -> str:
    """The token for pages made in answer to `request`; a visit begins where there is none."""
    over = getattr(request.state, "session_over", False)
    key = ("" if over else cookie(request, SESSION)) or cookie(request, VISIT)
    if not key:
        key = getattr(request.state, FRESH_VISIT, "") or secrets.token_urlsafe(32)
        setattr(request.state, FRESH_VISIT, key)
    return token_from(key)


def token_from(key: str) -> str:
    """The token that belongs to the cookie `key`."""
    return hmac.new(key.encode(), b"cadnode csrf", hashlib.sha256).hexdigest()


async def check(request: Request) -> None:
    """Raise NotAllowed for a change that brings no token along, NotSignedIn for a lost program.

    Programs have their own token, which no browser adds by itself: they need none of ours.
    """
    if request.method in SAFE_METHODS or "authorization" in request.headers:
        return
    key = cookie(request, SESSION) or cookie(request, VISIT)
    if not key and request.url.path.startswith("/api/"):
        raise NotSignedIn("send a token, as in Authorization: Bearer TOKEN")
    given = request.headers.get(HEADER, "")
    if not given and request.headers.get("content-type", "").startswith(_FORM):
        field = (await request.form()).get(FIELD, "")
        given = field if isinstance(field, str) else ""
    if not key or not hmac.compare_digest(given.encode(), token_from(key).encode()):
        raise NotAllowed("the page this comes from is out of date; load it again and repeat")
