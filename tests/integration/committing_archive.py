"""An archive that commits as well or as badly as it is told, made with pynetdicom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import AllStoragePresentationContexts

from cadnode.dimse.commitment_messages import (
    PUSH_MODEL_INSTANCE,
    STORAGE_COMMITMENT,
    commitment_context,
)
from cadnode.dimse.destination import Destination
from cadnode.dimse.find import STUDY_ROOT_FIND

LATER, BEFORE, SAME, NEW, NEVER = "later", "before", "same", "new", "never"
"""When it reports: on `report()`, before it answers, on the same or a new association, never."""


@dataclass
class CommittingArchive:
    """An archive under test; its fields may be changed at any time."""

    node_port: int
    when: str = SAME
    status: int = 0x0000
    """Its answer to N-ACTION."""
    role: bool = True
    """Whether it proposes the SCP role on an association of its own."""
    lost: set[str] = field(default_factory=set)
    """SOP Instance UIDs that it does not hold."""
    held: set[str] = field(default_factory=set)
    asked: list[Dataset] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    """The status that each report of its own was answered with."""
    seen: threading.Event = field(default_factory=threading.Event)
    bulk: int = 0
    """Bytes that each answer to a query has for nothing."""
    port: int = 0

    @property
    def destination(self) -> Destination:
        return Destination("pacs", "PACS", "127.0.0.1", self.port)

    def report(self, number: int = -1, **changes: Any) -> int | None:
        """Report on a request over a new association; the status it is answered with."""
        ae = AE("PACS")
        roles: list[Any] = [build_role(STORAGE_COMMITMENT, scp_role=True)] if self.role else []
        association = ae.associate(
            "127.0.0.1",
            self.node_port,
            [commitment_context()],
            ae_title="CADNODE",
            ext_neg=roles,
        )
        if not association.is_established:
            return None
        # Without a role selection pynetdicom takes itself for the SCU.
        association.accepted_contexts[0]._as_scp = True
        try:
            return self._send(association, self.asked[number], **changes)
        finally:
            association.release()

    def _send(self, association: Any, asked: Dataset, **changes: Any) -> int | None:
        data_set, event_type = self._event(asked)
        for keyword, value in changes.items():
            setattr(data_set, keyword, value)
        status, _ = association.send_n_event_report(
            data_set, event_type, STORAGE_COMMITMENT, PUSH_MODEL_INSTANCE
        )
        self.answers.append(status.get("Status"))
        return self.answers[-1]

    def _event(self, asked: Dataset) -> tuple[Dataset, int]:
        data_set = Dataset()
        data_set.TransactionUID = asked.TransactionUID
        committed, failed = [], []
        for item in asked.ReferencedSOPSequence:
            reference = Dataset()
            reference.ReferencedSOPClassUID = item.ReferencedSOPClassUID
            reference.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
            if item.ReferencedSOPInstanceUID in self.lost:
                reference.FailureReason = 0x0112
                failed.append(reference)
            else:
                committed.append(reference)
        if committed:
            data_set.ReferencedSOPSequence = committed
        if failed:
            data_set.FailedSOPSequence = failed
        return data_set, 2 if failed else 1

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        self.asked.append(asked)
        if self.status == 0x0000:
            if self.when == BEFORE:
                self._send(event.assoc, asked)
            elif self.when in (SAME, NEW):
                act: Callable[[], object] = (
                    self.report if self.when == NEW else lambda: self._send(event.assoc, asked)
                )
                threading.Timer(0.1, act).start()
        self.seen.set()
        return self.status, None

    def on_store(self, event: evt.Event) -> int:
        uid = str(cast("C_STORE", event.request).AffectedSOPInstanceUID)
        self.held.add(uid)
        return 0x0000

    def on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        if asked.SOPInstanceUID in self.held - self.lost:
            if self.bulk:
                asked.EncapsulatedDocument = bytes(self.bulk)
            yield 0xFF00, asked


@contextmanager
def committing_archive(
    node_port: int, *, commits: bool = True, finds: bool = True, **fields: Any
) -> Iterator[CommittingArchive]:
    """The archive PACS, on a free port unless one is given, which knows where the node listens."""
    archive = CommittingArchive(node_port, **fields)
    ae = AE("PACS")
    ae.supported_contexts = list(AllStoragePresentationContexts)
    if commits:
        ae.add_supported_context(STORAGE_COMMITMENT)
    if finds:
        ae.add_supported_context(STUDY_ROOT_FIND)
    server = ae.start_server(
        ("127.0.0.1", archive.port),
        block=False,
        evt_handlers=[
            (evt.EVT_N_ACTION, archive.on_action),
            (evt.EVT_C_STORE, archive.on_store),
            (evt.EVT_C_FIND, archive.on_find),
        ],
    )
    assert server is not None
    archive.port = server.server_address[1]
    try:
        yield archive
    finally:
        server.shutdown()
