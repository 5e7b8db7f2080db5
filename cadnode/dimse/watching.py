"""What happens on the Storage SCP's port, told to the audit trail.

One message for each association and study, when the association is over.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from cadnode.core.audit import (
    AuditTrail,
    Held,
    Instance,
    InstancesTransferred,
    NodeRefused,
    NoTrail,
    Party,
)
from cadnode.core.jobs import Acceptance
from cadnode.dimse.storing import IncomingObject

UPPER_LAYER = 2
"""Source of an abort by our own protocol machine: the peer broke the rules (PS3.8 table 9-26)."""


@dataclass
class _Received:
    source: Party
    instances: list[Instance] = field(default_factory=list)
    failed: list[Instance] = field(default_factory=list)
    outcomes: set[Acceptance] = field(default_factory=set)

    @property
    def held(self) -> Held:
        """What we held of it before."""
        if Acceptance.CHANGED in self.outcomes:
            return Held.ANOTHER_VERSION
        return Held.NOTHING_OF_IT if Acceptance.NEW in self.outcomes else Held.ALL_OF_IT


class AssociationWatch:
    """A `Service` of the Storage SCP that answers nothing and reports everything."""

    def __init__(self, trail: AuditTrail, own: Party) -> None:
        self._trail = trail
        self._heard = not isinstance(trail, NoTrail)
        self._own = own
        self._lock = threading.Lock()
        self._open: dict[int, dict[str, _Received]] = {}
        self._aborted: set[int] = set()

    def contexts(self) -> Sequence[PresentationContext]:
        """None: it only watches."""
        return ()

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """Connections, rejections and aborts."""
        return (
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_CONN_CLOSE, self._on_close),
            (evt.EVT_ACSE_SENT, self._on_answer),
            (evt.EVT_PDU_SENT, self._on_pdu),
        )

    def received(self, incoming: IncomingObject, path: Path, outcome: Acceptance) -> None:
        """Note what became of one object: kept at `path`, unless its UID was taken."""
        if not self._heard:
            # An association may stay open for days: nothing is put together that nobody reads.
            return
        kept = outcome is not Acceptance.CONFLICT
        instance = Instance(incoming.sop_class_uid, path, incoming.study_instance_uid)
        with self._lock:
            # Not in the table: the peer hung up while the object was being kept.
            studies = self._open.get(incoming.association, {})
            over = incoming.association not in self._open
            of_study = studies.setdefault(
                incoming.study_instance_uid,
                _Received(Party(incoming.calling_ae, incoming.calling_host)),
            )
            (of_study.instances if kept else of_study.failed).append(instance)
            of_study.outcomes.add(outcome)
        if over:
            self._report(of_study)

    def begin(self, association: int) -> None:
        """From now on what comes on it is put together."""
        with self._lock:
            self._open[association] = {}

    def end(self, association: int) -> None:
        """It is over: report what came."""
        with self._lock:
            studies = self._open.pop(association, {})
            self._aborted.discard(association)
        for of_study in studies.values():
            self._report(of_study)

    def _on_open(self, event: Event) -> None:
        self.begin(id(event.assoc))

    def _on_close(self, event: Event) -> None:
        self.end(id(event.assoc))

    def _on_answer(self, event: Event) -> None:
        answer = cast("Any", event).primitive
        if isinstance(answer, A_ASSOCIATE) and answer.result not in (None, 0):
            self._trail.record(NodeRefused(_caller(event), f"rejected: {answer.reason_str}"))

    def _on_pdu(self, event: Event) -> None:
        pdu = cast("Any", event).pdu
        if isinstance(pdu, A_ABORT_RQ) and pdu.source == UPPER_LAYER:
            with self._lock:
                if id(event.assoc) in self._aborted:
                    # One alert is enough: every further byte of such a peer is answered so.
                    return
                self._aborted.add(id(event.assoc))
            self._trail.record(NodeRefused(_caller(event), f"aborted: {pdu.reason_str}"))

    def _report(self, received: _Received) -> None:
        self._trail.record(
            InstancesTransferred(
                source=received.source,
                destination=self._own,
                instances=tuple(received.instances),
                held=received.held,
                failed=tuple(received.failed),
            )
        )


def _caller(event: Event) -> Party:
    requestor = event.assoc.requestor
    # Before an association is accepted its title stands in the request only.
    request: object = requestor.primitive
    title = request.calling_ae_title if isinstance(request, A_ASSOCIATE) else ""
    return Party(str(title or ""), str(requestor.address or ""))
