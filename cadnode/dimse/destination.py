"""An association with a destination, and a limit on the time that anything there may take."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from cadnode.core.errors import TlsUnusable
from cadnode.core.retry import SendCause
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from cadnode.dimse.tls import ClientTls, client_context, in_words
from cadnode.dimse.transport import AskingProvider, BoundedAE

T = TypeVar("T")

PRESENTATION_PROVIDER = 3
"""Source of a rejection: congestion or a local limit, which pass (PS3.8 table 9-21)."""

GRACE_SECONDS = 1.0

USUAL_PDU = 16382
"""Bytes of the longest P-DATA-TF that we take where little comes back."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A DICOM node that takes results."""

    name: str
    ae_title: str
    host: str
    port: int
    tls: ClientTls | None = None
    """None for a plain connection."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `delivery` ends everything, whatever the other end does."""

    connect: float = 10.0
    association: float = 30.0
    answer: float = 60.0
    delivery: float = 120.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no association, or none any more."""

    cause: SendCause
    detail: str


class Line:
    """One association with a destination, from the request to the release.

    `trouble` is None while it stands.
    """

    def __init__(self, destination: Destination, own_ae_title: str, timeouts: Timeouts) -> None:
        self._destination = destination
        self._timeouts = timeouts
        self._ends = time.monotonic() + timeouts.delivery
        self._ae = BoundedAE(own_ae_title, pdu_seconds=timeouts.answer, deadline=self._ends)
        self._ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.connection_timeout = timeouts.connect
        self._ae.acse_timeout = timeouts.association
        self._ae.dimse_timeout = timeouts.answer
        self._ae.network_timeout = timeouts.delivery
        self._association: Association | None = None
        self._connected = False
        self._we_aborted = False

    @property
    def association(self) -> Association:
        """The association; only after `open` has returned None."""
        return cast("Association", self._association)

    def open(
        self,
        contexts: Sequence[PresentationContext],
        *,
        roles: Sequence[Any] = (),
        handlers: Sequence[tuple[Any, ...]] = (),
        provider: Callable[[Association], DIMSEServiceProvider] = AskingProvider,
        max_pdu: int = USUAL_PDU,
    ) -> Trouble | None:
        """Ask for the association; the trouble when there is none.

        For services where the peer sends requests too: SCP/SCU `roles` (PS3.7 D.3.3.4), handlers
        of pynetdicom's events, what takes in messages, and the longest PDU we take (bytes).
        """
        self._ae.provider = provider
        try:
            self._association = self._ae.associate(
                self._destination.host,
                self._destination.port,
                contexts=list(contexts),
                ae_title=self._destination.ae_title,
                max_pdu=max_pdu,
                ext_neg=list(roles),
                tls_args=self._tls_args(),
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, self._on_open),
                    (evt.EVT_ACSE_SENT, self._on_acse_sent),
                    *handlers,
                ],
            )
        except TlsUnusable as error:
            return Trouble(SendCause.UNREACHABLE, str(error))
        except OSError as error:
            return Trouble(SendCause.UNREACHABLE, f"host name: {error.strerror or error}")
        if self._association.is_established:
            return None
        return self._why_not(self._association)

    def after_silence(self) -> Trouble:
        """Why a request got no answer: the peer broke off, or said nothing in time."""
        if self._we_aborted or self._slow():
            return Trouble(SendCause.NO_ANSWER, "no valid answer within the time limit")
        return Trouble(SendCause.ABORTED, "the peer ended the association")

    def over_time(self) -> bool:
        """True when the time of the whole delivery is over."""
        return time.monotonic() >= self._ends

    def close(self) -> None:
        """Release the association, without waiting long for a peer that does not confirm."""
        association = self._association
        if association is not None and association.is_established:
            association.acse_timeout = min(5.0, self._timeouts.association)
            association.release()

    def cut(self) -> None:
        """End the connection from another thread."""
        if self._ae.opened is not None:
            self._ae.opened.shut()

    def _tls_args(self) -> tuple[ssl.SSLContext, str] | None:
        # Read anew each time: a renewed certificate needs no restart.
        tls = self._destination.tls
        return None if tls is None else (client_context(tls.files), tls.host_name)

    def _on_open(self, _event: Event) -> None:
        self._connected = True

    def _on_acse_sent(self, event: Event) -> None:
        self._we_aborted = self._we_aborted or isinstance(cast("Any", event).primitive, A_ABORT)

    def _slow(self) -> bool:
        return self._ae.opened is not None and self._ae.opened.timed_out

    def _why_not(self, association: Association) -> Trouble:
        where = f"{self._destination.host}:{self._destination.port}"
        failure = self._ae.opened.failure if self._ae.opened else None
        broken = ssl.SSLError if self._destination.tls is None else (ssl.SSLError, ConnectionError)
        if isinstance(failure, broken) and not isinstance(failure, ConnectionRefusedError):
            return Trouble(SendCause.UNREACHABLE, f"TLS with {where}: {in_words(failure)}")
        if not self._connected:
            why = f" ({in_words(failure)})" if failure else ""
            return Trouble(SendCause.UNREACHABLE, f"nothing answers at {where}{why}")
        # pynetdicom takes a peer that answers and hangs up at once for one that it never reached;
        # the answer then lies unread in its queue.
        unread = association.dul.receive_pdu(wait=False)
        negotiated: object = association.acceptor.primitive
        answer = negotiated or unread
        if isinstance(answer, A_ASSOCIATE) and answer.result != 0:
            return _rejection(answer)
        if isinstance(negotiated, A_ASSOCIATE) and not association.accepted_contexts:
            return Trouble(SendCause.CONTEXT_REJECTED, "none of what was offered")
        if self._slow() or (self._we_aborted and unread is None):
            return Trouble(SendCause.NO_ANSWER, "the association request was not answered in time")
        return Trouble(SendCause.ABORTED, "the peer broke off the association request")


def _rejection(answer: A_ASSOCIATE) -> Trouble:
    detail = (
        f"result {answer.result}, source {answer.result_source}, "
        f"reason {answer.diagnostic}: {answer.reason_str}"
    )
    for_good = answer.result == 1 and answer.result_source != PRESENTATION_PROVIDER
    cause = SendCause.REJECTED_PERMANENTLY if for_good else SendCause.REJECTED_FOR_NOW
    return Trouble(cause, detail)


def within(seconds: float, act: Callable[[], T], cut: Callable[[], None]) -> T | None:
    """What `act` returns, or None when it has not come back in time; it is then cut off.

    The thread is given up, not waited for: a host name look-up cannot be interrupted.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=run, name="dimse-client", daemon=True).start()
    for wait, after in ((seconds + GRACE_SECONDS, cut), (GRACE_SECONDS, _nothing)):
        try:
            return future.result(wait)
        except TimeoutError:
            if future.done():
                raise
            after()
    return None


def _nothing() -> None:
    pass


def accepted_syntaxes(association: Any) -> dict[str, set[str]]:
    """By SOP class UID: the transfer syntaxes of its accepted contexts."""
    accepted: dict[str, set[str]] = {}
    for context in association.accepted_contexts:
        accepted.setdefault(str(context.abstract_syntax), set()).add(
            str(context.transfer_syntax[0])
        )
    return accepted
