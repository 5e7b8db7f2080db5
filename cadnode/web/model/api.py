"""The same as the page of the model, for programs."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from cadnode.core.bundle_facts import (
    BundleFacts,
    FileNow,
    GoldenState,
    InstalledBundle,
    LoadedModel,
)
from cadnode.core.drift import DriftState, DriftVerdict, ScoreReference, SpanDrift, WeekCounts
from cadnode.web.access import User, admin, operator, viewer
from cadnode.web.console import Console
from cadnode.web.model.pages import MOST_NOTE

Viewer = Annotated[User, Depends(viewer)]
Name = Annotated[str, Path(max_length=64)]


class BundleAnswer(BaseModel):
    """One bundle: its manifest, its card, its curves, and whether its files are what they were."""

    name: str
    version: str
    in_force: bool
    whole: bool
    """Is every file the one the bundle was made with?"""
    files: tuple[FileNow, ...]
    manifest: dict[str, Any]
    manifest_sha256: str
    card: str
    """Markdown."""
    curves: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]


class ModelAnswer(BaseModel):
    """The bundle in force, what the workers have loaded, and every bundle there is."""

    bundle: BundleAnswer
    loaded: tuple[LoadedModel, ...]
    installed: tuple[InstalledBundle, ...]


class DriftAnswer(BaseModel):
    """The verdict on the model in force, and the weeks that it rests on."""

    model: str
    state: DriftState
    moved: bool
    text: str
    reference: ScoreReference | None
    judged: SpanDrift | None
    score_edges: tuple[float, ...]
    weeks: tuple[WeekCounts, ...]
    by_week: tuple[SpanDrift, ...]


class NewReference(BaseModel):
    """The period whose exams become the site's reference."""

    model_config = ConfigDict(extra="forbid")

    first: date | None = None
    """First day (UTC); by default that of the first exam the model has read."""
    last: date | None = None
    """Last day (UTC); by default yesterday."""
    note: Annotated[str, Field(max_length=MOST_NOTE)] = ""
    replace: bool = False
    """The reference that is there already."""


def api(console: Console) -> APIRouter:
    """`/model` and what is below it."""
    router = APIRouter(prefix="/model", tags=["model"])
    desk = console.model

    @router.get("")
    def model(user: Viewer) -> ModelAnswer:
        """The bundle in force, what the workers have loaded, every bundle installed."""
        return ModelAnswer(
            bundle=_answer(desk.in_force()),
            loaded=tuple(desk.loaded()),
            installed=tuple(desk.installed()),
        )

    @router.get("/bundles/{name}/{version}")
    def bundle(name: Name, version: Name, user: Viewer) -> BundleAnswer:
        """Any bundle that is installed."""
        return _answer(desk.bundle(name, version))

    @router.get("/drift")
    def drift(user: Viewer) -> DriftAnswer:
        """Have scores and marks moved against the reference? At most ten minutes old."""
        return _drift(desk.drift())

    @router.post("/reference", status_code=HTTPStatus.CREATED)
    def reference(wanted: NewReference, user: Annotated[User, Depends(admin)]) -> ScoreReference:
        """Make the site's reference from the exams of a period."""
        return desk.make_reference(
            wanted.first, wanted.last, note=wanted.note, replace=wanted.replace, actor=user.name
        )

    @router.get("/golden-check")
    def golden(user: Viewer) -> GoldenState:
        """What came of the last golden checks, and whether one is running."""
        return desk.golden()

    @router.post("/golden-check", status_code=HTTPStatus.ACCEPTED)
    def check(user: Annotated[User, Depends(operator)]) -> GoldenState:
        """Begin to compute the golden example again; ask with GET what came of it."""
        return desk.check_golden(user.name)

    return router


def _answer(facts: BundleFacts) -> BundleAnswer:
    return BundleAnswer(
        name=facts.name,
        version=facts.version,
        in_force=facts.in_force,
        whole=facts.whole,
        files=facts.files,
        manifest=dict(facts.manifest),
        manifest_sha256=facts.manifest_sha256,
        card=facts.card,
        curves=tuple(curves.as_json() for curves in facts.curves),
        problems=facts.problems,
    )


def _drift(verdict: DriftVerdict) -> DriftAnswer:
    return DriftAnswer(
        model=verdict.model,
        state=verdict.state,
        moved=verdict.moved,
        text=verdict.text,
        reference=verdict.reference,
        judged=verdict.judged,
        score_edges=verdict.score_edges,
        weeks=verdict.weeks,
        by_week=verdict.by_week,
    )
