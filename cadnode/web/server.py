"""The console as one ASGI application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fastapi import APIRouter, Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from cadnode.web import accounts, exams, health, model, peers, problems, today, viewer
from cadnode.web.access import csrf
from cadnode.web.access.guard import Guard
from cadnode.web.console import Console
from cadnode.web.pages import HERE


class Feature(Protocol):
    """A package of this part."""

    def pages(self, console: Console) -> APIRouter:
        """Its HTML pages."""
        ...

    def api(self, console: Console) -> APIRouter:
        """The same as JSON; paths are relative to /api/v1."""
        ...


FEATURES: Sequence[Feature] = (accounts, today, health, peers, exams, viewer, model)
"""The packages of the features, in the order their routes are looked through."""


def create_app(console: Console, features: Sequence[Feature] = FEATURES) -> FastAPI:
    """The pages, the API under /api/v1 and its description under /api/v1/openapi.json."""
    app = FastAPI(
        title="cadnode",
        version=console.version,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        dependencies=[Depends(csrf.check)],
        redoc_url=None,
    )
    app.state.console = console
    app.add_middleware(Guard, rules=console.access.guard_rules)
    problems.add_handlers(app)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for feature in features:
        app.include_router(feature.pages(console), include_in_schema=False)
        app.include_router(feature.api(console), prefix="/api/v1", responses=problems.ANSWERS)
    return app
