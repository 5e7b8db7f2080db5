"""The page of settings and peers, and the answer to one C-ECHO."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from cadnode.core.alerts import NOTE_DAYS, URGENT_DAYS
from cadnode.core.node_status import CertificateStatus, days_until
from cadnode.core.peers import EchoAnswer, PeerKind
from cadnode.web.access import Role, User, operator, viewer
from cadnode.web.console import Console
from cadnode.web.pages import render

TWO_YEARS = 730


def pages(console: Console) -> APIRouter:
    """`/settings`, and `/settings/echo/<kind>/<name>`, which asks one peer."""
    router = APIRouter()

    @router.get("/settings")
    def show(request: Request, user: Annotated[User, Depends(viewer)]) -> HTMLResponse:
        return render(request, "peers/page.html", **_values(console, user, {}))

    @router.post("/settings/echo/{kind}/{name:path}")
    def echo(
        request: Request, kind: PeerKind, name: str, user: Annotated[User, Depends(operator)]
    ) -> HTMLResponse:
        answer = console.peers.echo(kind, name, by=user.name)
        if "HX-Request" in request.headers:
            return render(request, "peers/answer.html", answer=answer)
        return render(request, "peers/page.html", **_values(console, user, {(kind, name): answer}))

    return router


def _values(
    console: Console, user: User, answers: Mapping[tuple[PeerKind, str], EchoAnswer]
) -> dict[str, Any]:
    now = console.clock()
    settings = console.peers.settings()
    peers = console.peers.peers()
    return {
        "settings": settings,
        "tables": [
            (table, list(lines))
            for table, lines in groupby(settings.lines, lambda line: line.table)
        ],
        "groups": [
            (kind, title, [peer for peer in peers if peer.kind is kind])
            for kind, title in (
                (PeerKind.DESTINATION, "Destinations"),
                (PeerKind.SOURCE, "Sources"),
                (PeerKind.PEER, "Senders"),
            )
        ],
        "certificates": console.peers.certificates(),
        "answers": answers,
        "may_echo": user.role >= Role.OPERATOR,
        "expiry": lambda certificate: expiry(certificate, days_until(certificate.expires_at, now)),
    }


def expiry(certificate: CertificateStatus, days: int) -> tuple[str, str]:
    """(the class of its badge, how long it holds in words)."""
    if days < 0:
        return "bad", "expired"
    if days > TWO_YEARS:
        return "good", f"{days // 365} years left"
    tone = "bad" if days < URGENT_DAYS else "warn" if days < NOTE_DAYS else "good"
    return tone, "1 day left" if days == 1 else f"{days} days left"
