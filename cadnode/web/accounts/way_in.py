"""How somebody who is not signed in gets to the sign-in page, and from there to where they were."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from cadnode.web.access.cookies import SESSION, cookie
from cadnode.web.pages import render

SIGN_IN = "/sign-in"


def to_sign_in(request: Request) -> Response:
    """The answer to a page request of somebody who is not signed in."""
    if "hx-request" in request.headers:
        here = urlsplit(request.headers.get("hx-current-url", "/"))
        back = _sign_in_for(f"{here.path}?{here.query}" if here.query else here.path)
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": back})
    here_now = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if _was_followed_from_elsewhere(request):
        # The browser keeps our cookie back from requests that begin at another site, as a link in
        # an e-mail. From a page of ours it sends it.
        return onward(request, here_now)
    wanted = here_now if request.method == "GET" else "/"
    return RedirectResponse(_sign_in_for(wanted), HTTPStatus.SEE_OTHER)


def onward(request: Request, target: str) -> Response:
    """A page of ours that goes on to `target` by itself."""
    return render(request, "accounts/onward.html", target=target)


def inside(target: str) -> str:
    """`target` if it is a page of the console, else the first page."""
    if not target.startswith("/") or target.startswith(("//", "/\\")) or not target.isprintable():
        return "/"
    return target


def _sign_in_for(target: str) -> str:
    return SIGN_IN if target == "/" else f"{SIGN_IN}?next={quote(inside(target), safe='/')}"


def _was_followed_from_elsewhere(request: Request) -> bool:
    return (
        request.method == "GET"
        and request.headers.get("sec-fetch-site") == "cross-site"
        and not cookie(request, SESSION)
    )
