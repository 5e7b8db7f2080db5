"""One association on which an archive hands over images: the C-STORE sub-operations of C-GET, the
counters of C-MOVE, and the final status of either in words (PS3.4 C.4.2 and C.4.3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from cadnode.core.errors import UnreadableObject
from cadnode.core.jobs import Acceptance
from cadnode.dimse.asking import RetrievingProvider
from cadnode.dimse.destination import Destination, Line
from cadnode.dimse.find import PENDING
from cadnode.dimse.storing import SUCCESS, IncomingObject, StoreAnswers

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

LONGEST_PDU = 1 << 17
MOST_IMAGES_AT_ONCE = 100
"""UIDs in one request; an identifier stays small."""

MOVE_DESTINATION_UNKNOWN = 0xA801

RETRIEVE_STATUSES = {
    0x0122: "the SOP class is not supported",
    0x0124: "we are not authorized",
    0xA701: "out of resources, the number of matches is unknown",
    0xA702: "out of resources, it could not send",
    0xA900: "the identifier does not match the SOP class",
    0xB000: "it could not send all of them",
    0xFE00: "it cancelled the transfer",
}
"""Final statuses of C-GET and C-MOVE in words (PS3.4 tables C.4-2 and C.4-3)."""

COULD_NOT_SEND = frozenset({0x0122, 0xA702, 0xB000, *range(0xC000, 0xD000)})
"""What a C-GET may end in because the archive cannot convert: asked for in another syntax."""


def receiving_roles(contexts: Sequence[PresentationContext], service: str) -> list[Any]:
    """The role selection items by which we are SCP of every SOP class but the service itself."""
    return [
        build_role(uid, scp_role=True)
        for uid in dict.fromkeys(str(context.abstract_syntax) for context in contexts)
        if uid != service
    ]


Progress = Callable[[int, int], None]
"""Called with the images of the study that are done, and that have failed, so far."""


@dataclass(frozen=True, slots=True)
class WantedSeries:
    """Images of one series; with `whole`, all that the archive holds of it."""

    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class OwnReceiver:
    """Where C-MOVE sends to."""

    ae_title: str
    port: int


@dataclass(frozen=True, slots=True)
class Keeping:
    """What becomes of an image that comes by C-GET; see StorageScp for `receive` and `room`."""

    folder: Path
    receive: Callable[[IncomingObject], Acceptance]
    room: Callable[[int], bool]


class Run:
    """One retrieve over one association."""

    model = ""
    service = ""

    def __init__(self, source: Destination, study_instance_uid: str, progress: Progress) -> None:
        self.reasons: dict[str, str] = {}
        self.another_syntax_may_do = False
        self._source = source
        self._study = study_instance_uid
        self._progress = progress

    def all(
        self,
        line: Line,
        contexts: Sequence[PresentationContext],
        series: Sequence[WantedSeries],
        stopping: threading.Event,
    ) -> bool:
        """Ask for each series in turn; True."""
        requests = [request for one in series for request in self._requests(one)]
        refusal = self._open(line, contexts, stopping)
        for identifier, uids in requests:
            status = None if refusal else self._ask(line, identifier)
            if refusal is None and status is None:
                refusal = "stopped" if stopping.is_set() else f"{self.service}: {_silence(line)}"
            if status != SUCCESS:
                self.another_syntax_may_do = refusal is None and status in COULD_NOT_SEND
                for uid in uids:
                    # What we have answered ourselves says more.
                    self.reasons.setdefault(uid, refusal or self.explain(line, status or 0))
        self.forgive()
        line.close()
        return True

    def folder(self) -> Path:
        """Where C-STORE requests of the archive go to."""
        # Without a storage context there are none; the provider ends an association with one.
        return Path()

    def room(self, _size: int) -> bool:
        """May so many bytes more be written?"""
        return False

    def unfit(self, _association: Association) -> str | None:
        """Why what the archive accepted is not enough."""
        return None

    def send(self, association: Association, identifier: Dataset) -> Iterator[Any]:
        """Send the request; the answers."""
        raise NotImplementedError

    def count(self, answer: Dataset) -> None:
        """Take note of the counters in an answer."""

    def forgive(self) -> None:
        """Drop the reasons of images that have come all the same."""

    def _open(
        self, line: Line, contexts: Sequence[PresentationContext], stopping: threading.Event
    ) -> str | None:
        trouble = line.open(
            contexts,
            roles=receiving_roles(contexts, self.model),
            handlers=self.handlers(),
            provider=lambda association: RetrievingProvider(
                association, self.folder(), self.room, stopping
            ),
            max_pdu=LONGEST_PDU,
        )
        if trouble is not None:
            return f"{trouble.cause}: {trouble.detail}"
        accepted = {str(context.abstract_syntax) for context in line.association.accepted_contexts}
        if self.model not in accepted:
            return f"{self._source.name} does not take {self.service}"
        return self.unfit(line.association)

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """For pynetdicom's events."""
        return ()

    def _requests(self, series: WantedSeries) -> Iterator[tuple[Dataset, tuple[str, ...]]]:
        uids = series.sop_instance_uids
        if series.whole:
            yield self._identifier("SERIES", series), uids
            return
        for start in range(0, len(uids), MOST_IMAGES_AT_ONCE):
            some = uids[start : start + MOST_IMAGES_AT_ONCE]
            identifier = self._identifier("IMAGE", series)
            identifier.SOPInstanceUID = list(some)
            yield identifier, some

    def _identifier(self, level: str, series: WantedSeries) -> Dataset:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        identifier.StudyInstanceUID = self._study
        identifier.SeriesInstanceUID = series.series_instance_uid
        return identifier

    def _ask(self, line: Line, identifier: Dataset) -> int | None:
        """The final status, None without one."""
        try:
            for answer, _ in self.send(line.association, identifier):
                status = answer.get("Status")
                if status is None:
                    return None
                self.count(answer)
                if status not in PENDING:
                    return int(status)
        except RuntimeError:
            # The archive ended the association since the last answer.
            return None
        return None

    def explain(self, _line: Line, status: int) -> str:
        """Why an image may not have come that was asked for with this final status."""
        text = RETRIEVE_STATUSES.get(status, "it could not do it")
        return f"{self._source.name} answered 0x{status:04X}: {text}"


class GetRun(Run):
    model = STUDY_ROOT_GET
    service = "C-GET"

    def __init__(
        self, source: Destination, study_instance_uid: str, progress: Progress, keeping: Keeping
    ) -> None:
        super().__init__(source, study_instance_uid, progress)
        self._keeping = keeping
        self._answers = StoreAnswers(self._receive)
        self.accepted: frozenset[str] = frozenset()
        """The transfer syntaxes in which the archive may send."""
        self.refused: set[str] = set()
        """The images that came and were not kept."""
        self._done: set[str] = set()

    def folder(self) -> Path:
        """The folder of files that are still growing."""
        return self._keeping.folder

    def room(self, size: int) -> bool:
        """Is there room in the spool?"""
        return self._keeping.room(size)

    def unfit(self, association: Association) -> str | None:
        """The archive must accept us as the receiver of images."""
        storage = [
            context
            for context in association.accepted_contexts
            if context.abstract_syntax != self.model
        ]
        if any(context.as_scp for context in storage):
            self.accepted = frozenset(str(context.transfer_syntax[0]) for context in storage)
            return None
        return f'{self._source.name} sends no images by C-GET: set retrieve = "move"'

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """Each image is kept before it is answered; what is left of a connection goes."""
        return (
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_CONN_CLOSE, _discard),
            (evt.EVT_ABORTED, _discard),
        )

    def send(self, association: Association, identifier: Dataset) -> Iterator[Any]:
        """C-GET."""
        return association.send_c_get(identifier, STUDY_ROOT_GET)

    @property
    def done(self) -> int:
        """How many images are kept."""
        return len(self._done)

    def forgive(self) -> None:
        """We know which ones came."""
        for uid in self._done:
            self.reasons.pop(uid, None)

    def _on_store(self, event: Event) -> Dataset:
        answer = self._answers.answer(event)
        uid = str(cast("C_STORE", event.request).AffectedSOPInstanceUID)
        if answer.Status == SUCCESS:
            self._done.add(uid)
        else:
            self.refused.add(uid)
            comment = answer.get("ErrorComment", "")
            self.reasons[uid] = f"not kept, we answered 0x{answer.Status:04X}: {comment}"
        self._progress(len(self._done), len(self.refused))
        return answer

    def _receive(self, incoming: IncomingObject) -> Acceptance:
        if incoming.study_instance_uid != self._study:
            raise UnreadableObject("not of the study that was asked for")
        return self._keeping.receive(incoming)


class MoveRun(Run):
    model = STUDY_ROOT_MOVE
    service = "C-MOVE"

    def __init__(
        self,
        source: Destination,
        study_instance_uid: str,
        progress: Progress,
        receiver: OwnReceiver,
    ) -> None:
        super().__init__(source, study_instance_uid, progress)
        self._receiver = receiver
        self._earlier = (0, 0)
        self._now = (0, 0)

    def send(self, association: Association, identifier: Dataset) -> Iterator[Any]:
        """C-MOVE to our receiver."""
        self._earlier = (self._earlier[0] + self._now[0], self._earlier[1] + self._now[1])
        self._now = (0, 0)
        return association.send_c_move(identifier, self._receiver.ae_title, STUDY_ROOT_MOVE)

    def count(self, answer: Dataset) -> None:
        """The archive's own counters are all there is to see from here."""
        numbers = [
            int(answer.get(f"NumberOf{what}Suboperations") or 0)
            for what in ("Completed", "Warning", "Failed")
        ]
        if any(numbers):
            self._now = (numbers[0] + numbers[1], numbers[2])
            self._progress(self._earlier[0] + self._now[0], self._earlier[1] + self._now[1])

    def explain(self, line: Line, status: int) -> str:
        """As everywhere, with what the archive must know of us."""
        own = line.association.requestor.address
        entry = f"AE title {self._receiver.ae_title}, host {own}, port {self._receiver.port}"
        if status == MOVE_DESTINATION_UNKNOWN:
            return (
                f"{self._source.name} answered 0x{status:04X}: it does not know the move"
                f" destination; set up there: {entry}"
            )
        return (
            super().explain(line, status) + f" (does it know us as {entry}; is the node running?)"
        )


def _silence(line: Line) -> str:
    return line.after_silence().detail


def _discard(event: Event) -> None:
    cast("RetrievingProvider", event.assoc.dimse).discard()
