"""What an auditor wants to be told of, as plain values (PS3.15 A.5.3 names the events).

No value here holds a patient's identity: an event names files, and whoever writes the audit
message reads the patient's identifier from them (`Subject`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Party:
    """One end of an association."""

    ae_title: str
    host: str
    """Address or name; empty when it is not known."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object that went over the network, and the file in which we keep it."""

    sop_class_uid: str
    path: Path
    study_instance_uid: str = ""
    """Empty when only the file says it."""


@dataclass(frozen=True, slots=True)
class ApplicationStarted:
    """One of our processes is ready (PS3.15 A.5.3.1)."""

    process: str
    process_id: int


@dataclass(frozen=True, slots=True)
class ApplicationStopped:
    """One of our processes was told to stop, and does (PS3.15 A.5.3.1)."""

    process: str
    process_id: int


@dataclass(frozen=True, slots=True)
class NodeRefused:
    """Somebody was not let in: an association rejected or broken off, a TLS handshake that failed
    (PS3.15 A.5.3.11, Node Authentication)."""

    stranger: Party
    why: str


@dataclass(frozen=True, slots=True)
class TransferBegun:
    """We begin to send (PS3.15 A.5.3.3)."""

    source: Party
    destination: Party
    instances: tuple[Instance, ...]


class Held(StrEnum):
    """What the receiver of a transfer held before; the action code of the message."""

    NOTHING_OF_IT = "C"
    ALL_OF_IT = "R"
    """Also when the sender reports, who cannot know it."""
    ANOTHER_VERSION = "U"


@dataclass(frozen=True, slots=True)
class InstancesTransferred:
    """A transfer is over (PS3.15 A.5.3.7). `instances` are those that arrived."""

    source: Party
    destination: Party
    instances: tuple[Instance, ...]
    held: Held
    failed: tuple[Instance, ...] = ()
    """Sent, and not taken."""


@dataclass(frozen=True, slots=True)
class Queried:
    """We asked an archive what it holds (PS3.15 A.5.3.10)."""

    source: Party
    destination: Party
    sop_class_uid: str
    """The information model."""
    identifier: bytes
    """The keys as they were sent."""
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class InstancesAccessed:
    """A person was shown images or results of one study, or took them away (PS3.15 A.5.3.6)."""

    user: str
    """As signed in at the console."""
    host: str
    """Where that person sits; empty when it is not known."""
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class StudyDeleted:
    """The files of a study were purged (PS3.15 A.5.3.8). They can no longer say whose they were."""

    study_instance_uid: str
    files: int


@dataclass(frozen=True, slots=True)
class UserLogin:
    """Somebody has signed in to the console, or was refused (PS3.15 A.5.3.12)."""

    user: str
    host: str
    refused: str = ""
    """Why, when they were."""


@dataclass(frozen=True, slots=True)
class UserLogout:
    """Somebody has signed out of the console (PS3.15 A.5.3.12)."""

    user: str
    host: str


AuditEvent = (
    ApplicationStarted
    | ApplicationStopped
    | NodeRefused
    | TransferBegun
    | InstancesTransferred
    | Queried
    | InstancesAccessed
    | StudyDeleted
    | UserLogin
    | UserLogout
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose file it is."""

    study_instance_uid: str
    patient_id: str


CLOSE_SECONDS = 3.0


class AuditTrail(Protocol):
    """Where audit events go. Nothing here raises or waits for the network."""

    @property
    def trouble(self) -> str:
        """Why events do not get through now; empty when they do."""
        ...

    def record(self, event: AuditEvent) -> None:
        """Note what has just happened."""
        ...

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let what is noted go out, for at most so long."""
        ...


class NoTrail:
    """The trail of a node without an audit repository."""

    trouble = ""

    def record(self, event: AuditEvent) -> None:
        """Nothing."""

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Nothing."""
