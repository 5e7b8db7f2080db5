"""/healthz, /readyz and /metrics: without sign-in from where the settings say, else with a token."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

from cadnode.core.readiness import Readiness
from cadnode.web.access import User, viewer
from cadnode.web.access.caller import is_loopback, is_within
from cadnode.web.access.cookies import caller_of
from cadnode.web.access.who import asking
from cadnode.web.console import Console

_ASKING = ["GET", "HEAD"]
"""Load balancers ask for the head alone."""


class AbilityAnswer(BaseModel):
    """One thing the node is there for."""

    ready: bool
    reason: str
    """Why not; or what is worth knowing although it can."""


class ReadinessAnswer(BaseModel):
    """What the node can do at this moment."""

    ready: bool
    """True when it can do everything."""
    abilities: dict[str, AbilityAnswer]
    """By name: `receive`, `analyze`, `deliver`."""


def pages(console: Console) -> APIRouter:
    """The three addresses that monitoring systems expect."""
    router = APIRouter()

    @router.api_route("/healthz", methods=_ASKING)
    def healthz(request: Request) -> Response:
        return _unknown(request, console) or JSONResponse({"alive": True})

    @router.api_route("/readyz", methods=_ASKING)
    def readyz(request: Request) -> Response:
        refused = _unknown(request, console)
        if refused is not None:
            return refused
        found = console.health.readiness()
        status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(_answer(found).model_dump(), status)

    @router.api_route("/metrics", methods=_ASKING)
    def metrics(request: Request) -> Response:
        refused = _unknown(request, console)
        if refused is not None:
            return refused
        page = console.health.metrics(request.headers.get("accept", ""))
        return Response(page.content, media_type=page.content_type)

    return router


def api(console: Console) -> APIRouter:
    """Whether the node can work, for programs that have a token anyway."""
    router = APIRouter(tags=["health"])

    @router.get("/readiness", summary="What the node can do at this moment")
    def readiness(_user: Annotated[User, Depends(viewer)]) -> ReadinessAnswer:
        return _answer(console.health.readiness())

    return router


def _answer(found: Readiness) -> ReadinessAnswer:
    return ReadinessAnswer(
        ready=found.ready,
        abilities={
            ability.name: AbilityAnswer(ready=ability.ready, reason=ability.reason)
            for ability in found.abilities
        },
    )


def _unknown(request: Request, console: Console) -> Response | None:
    """A refusal for whoever comes from elsewhere without a token; None for all others."""
    caller = caller_of(request)
    # A proxy on this machine that nobody has told us of may ask for anybody.
    really_there = caller.local or not is_loopback(caller.address)
    if really_there and is_within(caller.address, console.health.open_to):
        return None
    if (caller.secure or is_loopback(caller.address)) and asking(request) is not None:
        return None
    headers: dict[str, Any] = {"WWW-Authenticate": "Bearer"}
    text = "This answers the addresses in [web] metrics_from, and tokens over https.\n"
    return PlainTextResponse(text, HTTPStatus.UNAUTHORIZED, headers)
