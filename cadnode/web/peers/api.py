"""Settings, peers and certificates, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends

from cadnode.core.node_status import CertificateStatus
from cadnode.core.peers import EchoAnswer, PeerEntry, PeerKind
from cadnode.core.provenance import SettingsInForce
from cadnode.web.access import User, operator, viewer
from cadnode.web.console import Console


def api(console: Console) -> APIRouter:
    """`GET /settings`, `/peers`, `/certificates`, and `POST /peers/<kind>/<name>/echo`."""
    router = APIRouter(tags=["settings and peers"])

    @router.get("/settings")
    def settings(user: Annotated[User, Depends(viewer)]) -> SettingsInForce:
        """Every setting in force and where it came from; secrets are hidden."""
        return console.peers.settings()

    @router.get("/peers")
    def peers(user: Annotated[User, Depends(viewer)]) -> Sequence[PeerEntry]:
        """Destinations, sources and senders of the settings."""
        return console.peers.peers()

    @router.get("/certificates")
    def certificates(user: Annotated[User, Depends(viewer)]) -> Sequence[CertificateStatus]:
        """Every certificate that the settings name, with its expiry."""
        return console.peers.certificates()

    @router.post(
        "/peers/{kind}/{name:path}/echo",
        responses={404: {"description": "The settings name no such peer"}},
    )
    def echo(kind: PeerKind, name: str, user: Annotated[User, Depends(operator)]) -> EchoAnswer:
        """Ask a peer whether it answers (C-ECHO), and which services it takes."""
        return console.peers.echo(kind, name, by=user.name)

    return router
