"""The same as the page of the day, for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from cadnode.core.node_status import (
    Alert,
    CertificateStatus,
    DayCounts,
    DestinationStatus,
    DiskStatus,
    PullStatus,
)
from cadnode.core.processes import ProcessRecord
from cadnode.web.access import User, viewer
from cadnode.web.console import Console


class StatusAnswer(BaseModel):
    """How the node is doing. Times are UTC, durations seconds, sizes bytes."""

    at: datetime
    station_name: str
    version: str
    is_well: bool
    """False when something needs a person."""
    alerts: tuple[Alert, ...]
    day: DayCounts
    destinations: tuple[DestinationStatus, ...]
    pulls: tuple[PullStatus, ...]
    disk: DiskStatus
    processes: tuple[ProcessRecord, ...]
    certificates: tuple[CertificateStatus, ...]


def api(console: Console) -> APIRouter:
    """`GET /status`."""
    router = APIRouter(tags=["status"])

    @router.get("/status")
    def status(user: Annotated[User, Depends(viewer)]) -> StatusAnswer:
        """How the node is doing: exams, destinations, pulls, disk, processes, alerts."""
        found = console.today.status()
        return StatusAnswer(
            at=found.at,
            station_name=found.station_name,
            version=found.version,
            is_well=found.is_well,
            alerts=found.alerts,
            day=found.day,
            destinations=found.destinations,
            pulls=found.pulls,
            disk=found.disk,
            processes=found.processes,
            certificates=found.certificates,
        )

    return router
