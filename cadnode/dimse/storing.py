"""What becomes of one received object: kept for good, then answered (PS3.4 table B.2-1).

The same for what a modality sends to our port and for what an archive sends in answer to C-GET.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from cadnode.core.errors import CadnodeError, SpoolFull, UnreadableObject
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
from cadnode.core.jobs import Acceptance
from cadnode.dimse.contexts import RECEIVED_SOP_CLASSES
from cadnode.dimse.identifiers import Identifiers, read_identifiers
from cadnode.dimse.incoming import OUT_OF_RESOURCES, IncomingFile, SpoolingProvider

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
SOP_CLASS_NOT_SUPPORTED = 0x0122
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class IncomingObject:
    """A received object, whole on disk but not yet kept; `receive` moves the file away."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    calling_host: str
    association: int = 0
    """A number that the association on which it came has for itself while it lasts."""
    identifiers: ExamIdentifiers = NO_IDENTIFIERS
    sha256: str | None = None
    """Of the data set, in hex, taken from the bytes as they came."""


class StoreAnswers:
    """Answers C-STORE requests on associations that have a `SpoolingProvider`.

    `receive` keeps one object for good; 0x0000 is answered only when it has returned. `answered`
    is told the calling AE title, the status, and the seconds since the object was whole.
    """

    def __init__(
        self,
        receive: Callable[[IncomingObject], Acceptance],
        answered: Callable[[str, int, float], None] = lambda _ae, _status, _seconds: None,
    ) -> None:
        self._receive = receive
        self._answered = answered
        self._running = 0
        self._idle = threading.Condition()

    def wait_until_idle(self, seconds: float) -> None:
        """Come back when no object is being kept, at the latest after `seconds`."""
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, seconds)

    def answer(self, event: Event) -> Dataset:
        """Keep the object of this EVT_C_STORE; its status, with a comment when it is not kept."""
        began = time.perf_counter()
        with self._idle:
            self._running += 1
        incoming = cast("SpoolingProvider", event.assoc.dimse).take(event.dataset_path)
        try:
            status, comment = self._keep(event, incoming)
        finally:
            if incoming is not None:
                incoming.remove()
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
        self._answered(str(event.assoc.remote["ae_title"]), status, time.perf_counter() - began)
        if status != SUCCESS:
            log.warning(
                "answered 0x%04X to %s for %s: %s",
                status,
                event.assoc.remote["ae_title"],
                cast("C_STORE", event.request).AffectedSOPInstanceUID,
                comment,
            )
        answer = Dataset()
        answer.Status = status
        if comment:
            answer.ErrorComment = comment[:64]
        return answer

    def _keep(self, event: Event, incoming: IncomingFile | None) -> tuple[int, str]:
        if incoming is None:
            return CANNOT_UNDERSTAND, "there is no data set"
        if incoming.failure is not None:
            return incoming.failure.status, incoming.failure.comment
        try:
            syntax = str(event.context.transfer_syntax)
            found = read_identifiers(incoming.path, incoming.data_set_offset, syntax)
            if mismatch := _mismatch(event, found):
                return DOES_NOT_MATCH, mismatch
            if found.sop_class_uid not in RECEIVED_SOP_CLASSES:
                # Nobody has agreed on it: it came over the context of another one.
                return SOP_CLASS_NOT_SUPPORTED, "this SOP class is not taken"
            acceptance = self._receive(
                IncomingObject(
                    path=incoming.path,
                    sop_class_uid=found.sop_class_uid,
                    sop_instance_uid=found.sop_instance_uid,
                    study_instance_uid=found.study_instance_uid,
                    series_instance_uid=found.series_instance_uid,
                    transfer_syntax_uid=syntax,
                    calling_ae=str(event.assoc.remote["ae_title"]),
                    calling_host=str(event.assoc.remote["address"]),
                    association=id(event.assoc),
                    identifiers=found.exam,
                    sha256=incoming.sha256,
                )
            )
        except UnreadableObject as error:
            return CANNOT_UNDERSTAND, error.detail
        except SpoolFull as error:
            return OUT_OF_RESOURCES, error.detail
        except (CadnodeError, OSError) as error:
            log.error("receiving failed: %s", type(error).__name__)
            return PROCESSING_FAILURE, "not kept, try again"
        except Exception as error:  # noqa: BLE001
            # pynetdicom would answer 0xC211, which a sender takes as final, and log the exception
            # with whatever of the object stands in its text.
            log.error("receiving broke: %s", type(error).__name__)
            return PROCESSING_FAILURE, "not kept, try again"
        if acceptance is Acceptance.CONFLICT:
            return DUPLICATE_INSTANCE, "this SOP Instance UID is kept in another study"
        return SUCCESS, ""


def _mismatch(event: Event, found: Identifiers) -> str | None:
    command = cast("C_STORE", event.request)
    if str(command.AffectedSOPClassUID) != found.sop_class_uid:
        return "SOP Class UID differs between command and data set"
    if str(command.AffectedSOPInstanceUID) != found.sop_instance_uid:
        return "SOP Instance UID differs between command and data set"
    return None
