"""How errors reach a person or a program: a page, or JSON with `code` and `detail`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cadnode.core.errors import (
    AccountRefused,
    CadnodeError,
    ConfigError,
    IllegalMove,
    ImageFailed,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ResultInvalid,
    SignInRefused,
    TooManyAttempts,
)
from cadnode.web.access.guard import protect
from cadnode.web.accounts.way_in import to_sign_in
from cadnode.web.pages import render

API = "/api/"


class Problem(BaseModel):
    """What a program gets in place of an answer."""

    code: str | None
    """One of docs/operations.md; null when it is the request that does not hold."""
    detail: str


ANSWERS: dict[int | str, dict[str, Any]] = {
    int(status): {"model": Problem, "description": description}
    for status, description in (
        (HTTPStatus.BAD_REQUEST, "This is no request that can be read."),
        (HTTPStatus.UNAUTHORIZED, "Nobody is signed in, and no token came along."),
        (HTTPStatus.FORBIDDEN, "Not with this role, or not by a token."),
        (HTTPStatus.NOT_FOUND, "There is none."),
        (HTTPStatus.CONFLICT, "Not in the state that it is in."),
        (HTTPStatus.UNPROCESSABLE_ENTITY, "The values do not hold."),
        (HTTPStatus.TOO_MANY_REQUESTS, "Too many at once; Retry-After says when."),
        (HTTPStatus.SERVICE_UNAVAILABLE, "The node cannot do it now."),
    )
}
"""Of every address of the API, for its description."""


def add_handlers(app: FastAPI) -> None:
    """Have `app` answer every error the same way."""
    app.add_exception_handler(CadnodeError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unplanned)


_STATUS: Mapping[type[CadnodeError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    ImageFailed: HTTPStatus.UNPROCESSABLE_ENTITY,
    ResultInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    IllegalMove: HTTPStatus.CONFLICT,
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotSignedIn: HTTPStatus.UNAUTHORIZED,
    SignInRefused: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    AccountRefused: HTTPStatus.CONFLICT,
}


def status_of(error: CadnodeError) -> int:
    """The HTTP status for one of our errors."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    return HTTPStatus.SERVICE_UNAVAILABLE


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CadnodeError)  # noqa: S101  as registered
    if isinstance(error, NotSignedIn) and not request.url.path.startswith(API):
        return to_sign_in(request)
    headers = {}
    if isinstance(error, NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.wait_seconds)
    return _answer(request, status_of(error), error.code, str(error), headers)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as registered
    if error.status_code < HTTPStatus.BAD_REQUEST:
        return Response(status_code=error.status_code, headers=error.headers)
    return _answer(request, error.status_code, None, str(error.detail), error.headers)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  as registered
    # The value itself is not repeated: it may name a patient.
    detail = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors()
    )
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, None, detail)


def _unplanned(request: Request, _error: Exception) -> Response:
    # It goes on to the server, whose log names its kind and place. Its text may hold anything.
    detail = f"{CadnodeError.code} something nobody planned for; the log of the node says where"
    answer = _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, CadnodeError.code, detail)
    protect(answer, request)
    return answer


def _answer(
    request: Request,
    status: int,
    code: str | None,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    if request.url.path.startswith(API):
        body: dict[str, Any] = {"code": code, "detail": detail}
        return JSONResponse(body, status_code=status, headers=dict(headers or {}))
    page = render(
        request,
        "problem.html",
        status=status,
        heading=HTTPStatus(status).phrase,
        code=code,
        detail=detail,
    )
    page.headers.update(headers or {})
    return page
