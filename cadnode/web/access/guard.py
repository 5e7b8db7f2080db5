"""What is looked at before any page is: whom we were called, by whom, and from which page.

- A Host header with a name that is not ours is answered with 400: a stranger's page whose name
  suddenly leads to this machine (DNS rebinding) does not get to talk to it.
- Whatever changes something must come from a page of ours (Origin, Sec-Fetch-Site), besides the
  token that `csrf` asks for.
- Every answer says what a browser may do with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cadnode.core.errors import NotAllowed
from cadnode.web.access.caller import (
    LOOPBACK_NAMES,
    Caller,
    Network,
    caller_of,
    host_name,
    is_loopback,
    is_within,
)
from cadnode.web.access.cookies import FRESH_VISIT, set_visit

LARGEST_BODY = 1 << 20
"""Bytes of a request: the console takes forms, no files."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_ONE_YEAR = "max-age=31536000"


@dataclass(frozen=True, slots=True)
class GuardRules:
    """From where requests may come."""

    hosts: frozenset[str] = frozenset()
    """Names of this console besides those of the machine itself; small letters, no port."""
    proxies: tuple[Network, ...] = ()
    """Who may say for whom it asks."""
    proxies_only: bool = False
    """Others come from this machine only: nobody else is encrypted on their way here."""


class Guard:
    """The application behind its rules."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope, self._rules.proxies)
        scope.setdefault("state", {})["caller"] = caller

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                _add_headers(headers, scope, caller)
            await send(message)

        status, problem = self._problem(scope, caller)
        if status is None:
            await self._app(scope, receive, answer)
        else:
            await _refusal(scope, status, problem)(scope, receive, answer)

    def _problem(self, scope: Scope, caller: Caller) -> tuple[HTTPStatus | None, str]:
        headers = Headers(scope=scope)
        if not self._is_ours(caller, scope):
            return HTTPStatus.BAD_REQUEST, (
                "this is not a name of the console; names it may be called by stand in [web] hosts"
            )
        if self._rules.proxies_only and not self._came_by_proxy(scope):
            return HTTPStatus.FORBIDDEN, "come by the proxy: this connection is not encrypted"
        if scope["method"] in SAFE_METHODS:
            site = headers.get("sec-fetch-site", "")
            if site == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
                return HTTPStatus.FORBIDDEN, "other sites cannot use what the console shows"
            return None, ""
        if not self._is_our_page(headers, caller):
            return HTTPStatus.FORBIDDEN, "this request does not come from a page of the console"
        if int(headers.get("content-length", "0") or "0") > LARGEST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this request is too large"
        # Also beside a length, which does not count then (RFC 9112 6.3).
        if "transfer-encoding" in headers:
            return HTTPStatus.LENGTH_REQUIRED, "this request does not say how long it is"
        if headers.get("content-type", "").strip().lower().startswith("multipart/"):
            # Its parts name their character set, and some take a processor minutes to decode.
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the console takes forms and JSON, no files"
        return None, ""

    def _is_ours(self, caller: Caller, scope: Scope) -> bool:
        # A number that we listen on is no name that somebody could have made lead here.
        server = str(scope["server"][0]) if scope.get("server") else ""
        number = f"[{server}]" if ":" in server else server
        return caller.site in LOOPBACK_NAMES or caller.site in {*self._rules.hosts, number} - {""}

    def _came_by_proxy(self, scope: Scope) -> bool:
        peer = str(scope["client"][0]) if scope.get("client") else ""
        return is_loopback(peer) or is_within(peer, self._rules.proxies)

    def _is_our_page(self, headers: Headers, caller: Caller) -> bool:
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
            port = parts.port
        except ValueError:
            return False
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        if (parts.hostname or "") in self._rules.hosts and port in (None, usual):
            # A proxy may call us by another name than browsers call it.
            return True
        ours = urlsplit(f"{parts.scheme}://{caller.host}")
        return bool(parts.netloc) and (
            host_name(parts.netloc),
            port or usual,
        ) == (host_name(caller.host), ours.port or usual)


def protect(answer: Response, request: Request) -> None:
    """The headers of every answer for one that does not pass the guard on its way out."""
    _add_headers(answer.headers, request.scope, request.state.caller)


def _add_headers(headers: MutableHeaders, scope: Scope, caller: Caller) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    static = scope["path"].startswith("/static/")
    headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
    if caller.secure and caller.site not in LOOPBACK_NAMES:
        headers["Strict-Transport-Security"] = _ONE_YEAR
    fresh = scope["state"].get(FRESH_VISIT)
    if fresh:
        set_visit(headers, fresh, caller)


def _refusal(scope: Scope, status: HTTPStatus, detail: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"code": NotAllowed.code, "detail": detail}, status)
    return PlainTextResponse(f"{NotAllowed.code} {detail}\n", status)
