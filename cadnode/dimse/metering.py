"""What happens on the Storage SCP's port, counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from cadnode.core.jobs import Acceptance
from cadnode.core.metrics import (
    ASSOCIATIONS_ACCEPTED,
    ASSOCIATIONS_OPEN,
    ASSOCIATIONS_REFUSED,
    IMAGES_RECEIVED,
    RECEIVE_DURATION,
    RECEIVED_BYTES,
    Metrics,
    begin,
)
from cadnode.dimse.admission import (
    CALLED_AE_UNKNOWN,
    CALLING_AE_UNKNOWN,
    LOCAL_LIMIT_EXCEEDED,
    Refusal,
)
from cadnode.dimse.storing import DUPLICATE_INSTANCE, SUCCESS, IncomingObject

_REASONS = {
    CALLED_AE_UNKNOWN: "called AE title",
    CALLING_AE_UNKNOWN: "calling AE title",
    LOCAL_LIMIT_EXCEEDED: "limit",
}
_NO_REASON, _TLS = "no reason given", "TLS"


class AssociationMeter:
    """A `Service` of the Storage SCP that answers nothing and counts everything."""

    def __init__(self, metrics: Metrics, sender_of: Callable[[str], str]) -> None:
        """`sender_of` gives the label of a calling AE title."""
        self._metrics = metrics
        self._sender_of = sender_of
        self._lock = threading.Lock()
        self._open: set[int] = set()
        for reason in (*_REASONS.values(), _NO_REASON, _TLS):
            begin(metrics, ASSOCIATIONS_REFUSED, reason)

    def contexts(self) -> Sequence[PresentationContext]:
        """None: it only counts."""
        return ()

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """Associations that begin, and connections that end."""
        return ((evt.EVT_ACCEPTED, self._on_accepted), (evt.EVT_CONN_CLOSE, self._on_close))

    def refused(self, refusal: Refusal) -> None:
        """Count one that was not let in."""
        self._metrics.add(ASSOCIATIONS_REFUSED, _REASONS.get(refusal.code, _NO_REASON))

    def no_tls(self) -> None:
        """Count a TLS handshake that failed."""
        self._metrics.add(ASSOCIATIONS_REFUSED, _TLS)

    def counted(
        self, receive: Callable[[IncomingObject], Acceptance]
    ) -> Callable[[IncomingObject], Acceptance]:
        """`receive`, with what it makes of each object counted."""

        def keep(incoming: IncomingObject) -> Acceptance:
            size = incoming.path.stat().st_size
            acceptance = receive(incoming)
            sender = self._sender_of(incoming.calling_ae)
            self._metrics.add(IMAGES_RECEIVED, sender, acceptance.name.lower())
            if acceptance is not Acceptance.CONFLICT:
                self._metrics.add(RECEIVED_BYTES, sender, by=size)
            return acceptance

        return keep

    def answered(self, calling_ae: str, status: int, seconds: float) -> None:
        """Count one C-STORE that has been answered."""
        if status == SUCCESS:
            self._metrics.observe(RECEIVE_DURATION, seconds)
        elif status != DUPLICATE_INSTANCE:
            self._metrics.add(IMAGES_RECEIVED, self._sender_of(calling_ae), f"0x{status:04X}")

    def _on_accepted(self, event: Event) -> None:
        with self._lock:
            self._open.add(id(event.assoc))
            self._metrics.set(ASSOCIATIONS_OPEN, len(self._open))
        sender = self._sender_of(str(event.assoc.requestor.ae_title).strip())
        self._metrics.add(ASSOCIATIONS_ACCEPTED, sender)

    def _on_close(self, event: Event) -> None:
        with self._lock:
            self._open.discard(id(event.assoc))
            self._metrics.set(ASSOCIATIONS_OPEN, len(self._open))
