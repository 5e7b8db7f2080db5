"""The page of the day, and the part of it that refreshes itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from cadnode.core.node_status import DestinationStatus, NodeStatus
from cadnode.core.processes import ProcessRecord
from cadnode.core.words import destination_state, disk_outlook, duration, size
from cadnode.web.access import User, viewer
from cadnode.web.console import Console
from cadnode.web.pages import render
from cadnode.web.today.chart import chart

REFRESH_SECONDS = 10


def pages(console: Console) -> APIRouter:
    """`/`, and `/today`, its part that is asked for again and again."""
    router = APIRouter()

    @router.get("/")
    def whole(request: Request, user: Annotated[User, Depends(viewer)]) -> HTMLResponse:
        return render(request, "today/page.html", **_values(console.today.status()))

    @router.get("/today")
    def part(request: Request, user: Annotated[User, Depends(viewer)]) -> HTMLResponse:
        return render(request, "today/part.html", **_values(console.today.status()))

    return router


def _values(status: NodeStatus) -> dict[str, Any]:
    return {
        "node": status,
        "chart": chart(status.day.hours),
        "said": _said(status),
        "with_code": with_code,
        "disk_outlook": disk_outlook(status.disk),
        "duration": duration,
        "size": size,
        "tone": tone,
        "state_of": lambda item: destination_state(item, status.at),
        "is_seen": lambda record: record.is_seen(status.at),
        "process_tone": lambda record: process_tone(record, status),
        "refresh_seconds": REFRESH_SECONDS,
    }


def tone(item: DestinationStatus) -> str:
    """The class of the badge of a destination: its colour, beside its words."""
    if item.enabled and item.state == "open":
        return "bad"
    if not item.enabled:
        return "warn" if item.waiting or item.unproved else "quiet"
    return "warn" if item.failed else "good"


def process_tone(record: ProcessRecord, status: NodeStatus) -> str:
    """The class of the badge of a process."""
    if not record.is_seen(status.at):
        return "bad"
    return "warn" if record.facts.problem else "good"


def with_code(text: str) -> Markup:
    """What stands between backticks as code; everything else as text."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def _said(status: NodeStatus) -> str:
    """What a screen reader says when it changes."""
    urgent = sum(alert.urgent for alert in status.alerts)
    if not urgent:
        return "All is well."
    return f"{urgent} problem{'s' if urgent > 1 else ''}: " + "; ".join(
        alert.what.replace("`", "") for alert in status.alerts if alert.urgent
    )
