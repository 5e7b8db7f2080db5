"""The page of the model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BeforeValidator

from cadnode.core.accounts import Role
from cadnode.core.bundle_facts import BundleFacts, GoldenState
from cadnode.core.drift import LEAST_EXAMS, LEAST_REFERENCE, LEVEL, DriftVerdict
from cadnode.core.errors import CadnodeError
from cadnode.web.access import User, admin, operator, viewer
from cadnode.web.console import Console
from cadnode.web.model import drift_view, words
from cadnode.web.model.card import card_html, licence_lines
from cadnode.web.model.curves import pictures
from cadnode.web.pages import render

POLL_SECONDS = 2
"""How often a page looks after the golden example that is being computed."""
MOST_NOTE = 200

Day = Annotated[date | None, BeforeValidator(lambda text: text or None), Form()]


@dataclass(frozen=True, slots=True)
class Part:
    """One section of the page, or why it cannot be shown."""

    value: Any
    problem: str = ""


def pages(console: Console) -> APIRouter:
    """`/model`, the other bundles, and what may be asked for on the page."""
    router = APIRouter()
    desk = console.model

    @router.get("/model")
    def whole(request: Request, user: Annotated[User, Depends(viewer)]) -> HTMLResponse:
        bundle = _part(desk.in_force)
        drift = _part(desk.drift)
        return render(
            request,
            "model/page.html",
            bundle=bundle.value,
            bundle_problem=bundle.problem,
            drift=drift.value,
            drift_problem=drift.problem,
            loaded=_part(desk.loaded).value or (),
            installed=desk.installed(),
            is_admin=user.role >= Role.ADMIN,
            least_reference=LEAST_REFERENCE,
            least_exams=LEAST_EXAMS,
            level=LEVEL,
            most_note=MOST_NOTE,
            **_golden(user),
            **_described(bundle.value),
            **_weeks(drift.value),
        )

    @router.get("/model/bundles/{name}/{version}")
    def other(
        request: Request, name: str, version: str, user: Annotated[User, Depends(viewer)]
    ) -> HTMLResponse:
        bundle = desk.bundle(name, version)
        return render(request, "model/other.html", bundle=bundle, **_described(bundle))

    @router.get("/model/golden")
    def golden(request: Request, user: Annotated[User, Depends(viewer)]) -> HTMLResponse:
        values = _golden(user)
        return render(request, "model/golden.html", said=_said(values["golden"]), **values)

    @router.post("/model/golden-check")
    def check(request: Request, user: Annotated[User, Depends(operator)]) -> Response:
        desk.check_golden(user.name)
        if "HX-Request" in request.headers:
            said = "The golden example is being computed."
            return render(request, "model/golden.html", said=said, **_golden(user))
        return RedirectResponse("/model#golden", HTTPStatus.SEE_OTHER)

    @router.post("/model/reference")
    def reference(
        user: Annotated[User, Depends(admin)],
        first: Day = None,
        last: Day = None,
        note: Annotated[str, Form(max_length=MOST_NOTE)] = "",
        replace: Annotated[bool, Form()] = False,
    ) -> Response:
        desk.make_reference(first, last, note=note, replace=replace, actor=user.name)
        return RedirectResponse("/model#drift", HTTPStatus.SEE_OTHER)

    def _golden(user: User) -> dict[str, Any]:
        return {
            "golden": desk.golden(),
            "is_operator": user.role >= Role.OPERATOR,
            "poll_seconds": POLL_SECONDS,
        }

    return router


def _said(golden: GoldenState) -> str:
    """What a screen reader says when the check is over; nothing while it runs."""
    if golden.running_since is not None or not golden.checks:
        return ""
    newest = golden.checks[0]
    return f"The golden example is {'right' if newest.well else 'wrong'}. {newest.text}"


def _part(ask: Any) -> Part:
    """One section that may be in trouble while the others are not."""
    try:
        return Part(ask())
    except CadnodeError as error:
        return Part(None, str(error))


def _described(bundle: BundleFacts | None) -> dict[str, Any]:
    if bundle is None:
        return {}
    manifest = bundle.manifest
    return {
        "reads": [
            ("Network", str(manifest["model"]["architecture"])),
            *words.facts_of(bundle.spec),
        ],
        "points": words.operating_points(bundle.spec),
        "training": words.lines_of(manifest, "training"),
        "results": words.lines_of(manifest, "results"),
        "card": card_html(bundle.card),
        "licences": licence_lines(bundle.card),
        "curves": [(curves, pictures(curves)) for curves in bundle.curves],
    }


def _weeks(verdict: DriftVerdict | None) -> dict[str, Any]:
    if verdict is None:
        return {}
    return {
        "tones": drift_view.TONES,
        "spreads": [drift_view.score_spread(verdict), drift_view.marks_spread(verdict)],
        "measures": drift_view.measures(verdict),
        "means": drift_view.means,
        "reference": verdict.reference and drift_view.reference_words(verdict.reference),
    }
