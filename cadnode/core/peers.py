"""Whom the node talks to, as the settings name them, and what they answer: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PeerKind(StrEnum):
    """In which table of the settings a peer stands."""

    PEER = "peer"
    """May send to the node: `[[peers]]`."""
    DESTINATION = "destination"
    """Gets results: `[[destinations]]`."""
    SOURCE = "source"
    """Exams are fetched from it: `[[sources]]`."""


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """One entry of the settings."""

    kind: PeerKind
    name: str
    ae_title: str
    address: str
    """Host and port as far as they are known; empty: it may call from anywhere."""
    tls: bool
    can_echo: bool
    """False where the settings do not say where it listens."""
    facts: tuple[str, ...]
    """What else the settings say of it, each in a few words."""
    last_exam_at: datetime | None
    """When the newest exam from its AE title began; only for those who send."""


@dataclass(frozen=True, slots=True)
class AskedService:
    """One service that a peer was asked for."""

    name: str
    sop_class_uid: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What was agreed on an encrypted connection."""

    version: str
    """`TLSv1.3`"""
    cipher: str
    names: tuple[str, ...]
    """Whom the other end's certificate is for."""
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """How a peer answered to C-ECHO."""

    kind: PeerKind
    name: str
    asked_at: datetime
    milliseconds: float
    """From the connection to the answer; until we gave up when there is none."""
    reachable: bool
    detail: str
    """What it said, or why there is no answer."""
    services: tuple[AskedService, ...]
    tls: TlsFacts | None
    """None on a plain connection, and when there was none."""
