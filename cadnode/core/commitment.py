"""Storage commitment that others ask of this node: what it answers. Pure values.

The node commits to an image that lies on its disk, whole, under the SOP class that the sender
names. It says failed, with the Failure Reason of PS3.3 C.14.1.1, for what it does not hold (0x0112,
also when the retention time is over) and for another SOP class (0x0119).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cadnode.core.proof import CLASS_INSTANCE_CONFLICT, NO_SUCH_INSTANCE, CommitmentReport


class RequestStatus(StrEnum):
    """Where the answer to one request stands."""

    OPEN = "open"
    """The report has still to reach the one who asked."""
    ANSWERED = "answered"
    """The report was taken."""
    GIVEN_UP = "given up"
    """The report cannot be brought to the one who asked."""


@dataclass(frozen=True, slots=True)
class CommitmentItem:
    """One object that a sender asks about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to commit, as it has just come in."""

    transaction_uid: str
    calling_ae: str
    calling_host: str
    items: tuple[CommitmentItem, ...]


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A request to commit, as claimed by who is going to report on it."""

    id: int
    transaction_uid: str
    calling_ae: str
    calling_host: str
    items: tuple[CommitmentItem, ...]
    owner: str
    tries: int
    """Claims so far, this one included."""
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that the database says is kept."""

    sop_instance_uid: str
    sop_class_uid: str
    path: str
    """Relative to the data directory."""
    size: int
    """Of the file, in bytes."""


def report_on(
    transaction_uid: str,
    items: Sequence[CommitmentItem],
    kept: Mapping[str, KeptImage],
    is_whole: Callable[[KeptImage], bool],
) -> CommitmentReport:
    """What the node commits to, and what it does not, each object once.

    `kept` by SOP Instance UID; `is_whole` says whether the file lies there with its size.
    """
    committed: dict[str, None] = {}
    failed: dict[str, int] = {}
    for item in items:
        image = kept.get(item.sop_instance_uid)
        if image is None or not is_whole(image):
            failed[item.sop_instance_uid] = NO_SUCH_INSTANCE
        elif image.sop_class_uid != item.sop_class_uid:
            failed[item.sop_instance_uid] = CLASS_INSTANCE_CONFLICT
        else:
            committed[item.sop_instance_uid] = None
    # Named twice with two classes: what is wrong with one of them is wrong with the object.
    return CommitmentReport(
        transaction_uid, tuple(uid for uid in committed if uid not in failed), failed
    )
