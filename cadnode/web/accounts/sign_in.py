"""The pages by which somebody comes in and goes out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from cadnode.core.errors import AccessError, SignInRefused, TooManyAttempts
from cadnode.web.access.cookies import (
    DEPARTURE,
    DEPARTURE_TIME,
    SESSION,
    caller_of,
    cookie,
    forget,
    set_cookie,
)
from cadnode.web.access.ports import Visitor
from cadnode.web.access.who import access_of, asking
from cadnode.web.accounts.way_in import SIGN_IN, inside, onward
from cadnode.web.pages import render

ARRIVAL = f"{SIGN_IN}/provider/arrival"

Text = Annotated[str, Form(max_length=4096)]
Next = Annotated[str, Query(alias="next", max_length=4096)]


def add_to(router: APIRouter) -> None:
    """Add the pages of this module."""
    router.get(SIGN_IN)(sign_in_page)
    router.post(SIGN_IN)(sign_in)
    router.get(f"{SIGN_IN}/provider")(depart)
    router.get(ARRIVAL)(arrive)
    router.post("/sign-out")(sign_out)


def visitor_of(request: Request) -> Visitor:
    """Where a sign-in comes from."""
    return Visitor(caller_of(request).address, request.headers.get("user-agent", ""))


def sign_in_page(request: Request, target: Next = "/") -> Response:
    """Name and password, please; or what to do where there is no user yet."""
    if asking(request) is not None:
        return RedirectResponse(inside(target), HTTPStatus.SEE_OTHER)
    over = cookie(request, SESSION)
    if over:
        # From now on the visit counts.
        request.state.session_over = True
    page = _form(request, inside(target))
    if over:
        forget(page, SESSION, caller_of(request))
    return page


def sign_in(
    request: Request,
    name: Text,
    password: Text,
    target: Annotated[str, Form(alias="next", max_length=4096)] = "/",
) -> Response:
    """In, or the same page with what was wrong."""
    try:
        secret = access_of(request).sign_in(name, password, visitor_of(request))
    except SignInRefused as error:
        return _form(request, inside(target), name, error, HTTPStatus.UNAUTHORIZED)
    except TooManyAttempts as error:
        page = _form(request, inside(target), name, error, HTTPStatus.TOO_MANY_REQUESTS)
        page.headers["Retry-After"] = str(error.wait_seconds)
        return page
    return _signed_in(request, secret, RedirectResponse(inside(target), HTTPStatus.SEE_OTHER))


def depart(request: Request, target: Next = "/") -> Response:
    """To the identity provider."""
    departure = access_of(request).depart(_redirect_uri(request))
    answer = RedirectResponse(departure.url, HTTPStatus.SEE_OTHER)
    # Lax: the way back begins at the provider.
    set_cookie(
        answer,
        DEPARTURE,
        f"{departure.proof}|{quote(inside(target))}",
        caller_of(request),
        lasts=DEPARTURE_TIME,
        same_site="lax",
    )
    return answer


def arrive(request: Request) -> Response:
    """Back from the identity provider."""
    proof, _, target = cookie(request, DEPARTURE).partition("|")
    try:
        secret = access_of(request).arrive(
            request.query_params,
            proof=proof,
            redirect_uri=_redirect_uri(request),
            visitor=visitor_of(request),
        )
    except AccessError as error:
        answer = _form(request, "/", "", error, HTTPStatus.UNAUTHORIZED)
    else:
        answer = _signed_in(request, secret, onward(request, inside(unquote(target))))
    forget(answer, DEPARTURE, caller_of(request))
    return answer


def sign_out(request: Request) -> Response:
    """Out, in this browser."""
    secret = cookie(request, SESSION)
    if secret:
        access_of(request).sign_out(secret, visitor_of(request))
    answer = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    forget(answer, SESSION, caller_of(request))
    return answer


def _signed_in(request: Request, secret: str, answer: Response) -> Response:
    access = access_of(request)
    before = cookie(request, SESSION)
    if before:
        # One browser, one session: the one before would live on without anybody who knows it.
        access.sign_out(before, visitor_of(request))
    lasts = access.longest_session
    set_cookie(answer, SESSION, secret, caller_of(request), lasts=lasts)
    return answer


def _form(
    request: Request,
    target: str,
    name: str = "",
    problem: AccessError | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    access = access_of(request)
    return render(
        request,
        "accounts/sign_in.html",
        status=status,
        target=target,
        name=name,
        problem=problem,
        nobody=access.open_to_localhost(),
        provider=access.provider,
    )


def _redirect_uri(request: Request) -> str:
    caller = caller_of(request)
    return f"{'https' if caller.secure else 'http'}://{caller.host}{ARRIVAL}"
