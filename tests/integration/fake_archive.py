"""An archive that answers queries and retrieves, and misbehaves on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.presentation import StoragePresentationContexts

from cadnode.dimse.contexts import UNCOMPRESSED_TRANSFER_SYNTAXES
from cadnode.dimse.find import STUDY_ROOT_FIND
from cadnode.dimse.scu import Destination
from cadnode.dimse.sub_operations import STUDY_ROOT_GET, STUDY_ROOT_MOVE

PENDING, CANCEL, UNABLE, WARNING = 0xFF00, 0xFE00, 0xA702, 0xB000

Answers = Iterator[tuple[int, Dataset | None]]


@dataclass
class FakeArchive:
    """Holds `datasets`; every hook may be replaced at any time."""

    datasets: Sequence[Dataset]
    our_port: int = 0
    knows_us: bool = True
    answers_optional_keys: bool = True
    matches_keys: bool = True
    padding: bytes = b""
    """After every UID of an answer, beyond what makes its length even."""
    endless: bool = False
    bulk: int = 0
    """Bytes that each answer has for nothing."""
    accepts_get: bool = True
    before_find: Callable[[Event], int | None] = lambda _event: None
    """Returns a final status, or None to answer properly."""
    before_image: Callable[[Event, int], int | None] = lambda _event, _number: None
    """Before each image of a retrieve: a final status in its place, or None."""
    sends_nothing: bool = False
    """And says that all was sent."""
    also_sends: Sequence[Dataset] = ()
    asked: list[Dataset] = field(default_factory=list)
    """The identifiers of every retrieve."""
    queries: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def hang(self, _event: Event, number: int) -> int | None:
        """Say no more from the second image on."""
        if number:
            self.stopping.wait(30)
        return None

    def on_find(self, event: Event) -> Answers:
        """C-FIND at any level."""
        self.queries += 1
        status = self.before_find(event)
        if status is not None:
            yield status, None
            return
        identifier = event.identifier
        level = identifier.QueryRetrieveLevel
        unique = {
            "STUDY": "StudyInstanceUID",
            "SERIES": "SeriesInstanceUID",
            "IMAGE": "SOPInstanceUID",
        }
        seen: set[str] = set()
        answer = Dataset()
        for dataset in self._matching(identifier) if self.matches_keys else self.datasets:
            uid = str(dataset[unique[level]].value)
            if uid in seen:
                continue
            seen.add(uid)
            answer = Dataset()
            answer.QueryRetrieveLevel = level
            tag = Tag(unique[level])
            value = uid.encode() + self.padding
            answer[tag] = RawDataElement(tag, "UI", len(value), value, 0, True, True)
            if self.answers_optional_keys:
                answer.StudyDate = dataset.StudyDate
                if level == "STUDY":
                    answer.ModalitiesInStudy = dataset.Modality
                else:
                    answer.Modality, answer.SOPClassUID = dataset.Modality, dataset.SOPClassUID
            if self.bulk:
                answer.EncapsulatedDocument = bytes(self.bulk)
            yield PENDING, answer
        number = 0
        while self.endless and not self.stopping.is_set() and not event.is_cancelled:
            number += 1
            setattr(answer, unique[level], f"1.2.{number}")
            yield PENDING, answer

    def on_get(self, event: Event) -> Iterator[Any]:
        """C-GET: the images on the same association."""
        self.asked.append(event.identifier)
        images = [*self._matching(event.identifier), *self.also_sends]
        if self.sends_nothing:
            images = []
        yield len(images)
        yield from self._images(event, images)

    def on_move(self, event: Event) -> Iterator[Any]:
        """C-MOVE: the images to our receiver."""
        self.asked.append(event.identifier)
        if not self.knows_us:
            yield None, None
            return
        yield "127.0.0.1", self.our_port, {"ae_title": "CADNODE"}
        images = self._matching(event.identifier)
        yield len(images)
        yield from self._images(event, images)

    def _images(self, event: Event, images: Sequence[Dataset]) -> Answers:
        for number, image in enumerate(images):
            status = self.before_image(event, number)
            if status is not None:
                failed = Dataset()
                failed.FailedSOPInstanceUIDList = [one.SOPInstanceUID for one in images[number:]]
                yield status, failed
                return
            yield PENDING, image

    def _matching(self, identifier: Dataset) -> list[Dataset]:
        def fits(dataset: Dataset, keyword: str) -> bool:
            wanted = identifier.get(keyword)
            values = [str(one) for one in wanted] if element_is_many(wanted) else [str(wanted)]
            return not wanted or str(dataset[keyword].value) in values

        keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        return [one for one in self.datasets if all(fits(one, key) for key in keys)]


def element_is_many(value: object) -> bool:
    """Is it the value of an element with several values?"""
    return isinstance(value, MultiValue | list)


@contextmanager
def running_archive(archive: FakeArchive) -> Iterator[Destination]:
    """The archive on a free port."""
    ae = AE("FAKE")
    for context in StoragePresentationContexts:
        ae.add_supported_context(
            context.abstract_syntax or "",
            list(UNCOMPRESSED_TRANSFER_SYNTAXES),
            scu_role=True,
            scp_role=True,
        )
        ae.add_requested_context(context.abstract_syntax or "")
    for model in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE):
        ae.add_supported_context(model)
    if archive.accepts_get:
        ae.add_supported_context(STUDY_ROOT_GET)
    handlers: list[Any] = [
        (evt.EVT_C_FIND, lambda event: archive.on_find(event)),
        (evt.EVT_C_GET, lambda event: archive.on_get(event)),
        (evt.EVT_C_MOVE, lambda event: archive.on_move(event)),
    ]
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield Destination("archive", "FAKE", "127.0.0.1", server.server_address[1])
    finally:
        archive.stopping.set()
        server.shutdown()
        ae.shutdown()
