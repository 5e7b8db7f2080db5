"""The Storage SCP: the port on which modalities and archives hand over mammograms.

C-STORE answers 0x0000 only when `receive` has returned, that is when the object is kept.
Rejections as in PS3.8 table 9-21.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from cadnode.core.errors import ConfigError
from cadnode.core.jobs import Acceptance
from cadnode.core.metrics import NoMetrics
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from cadnode.dimse.admission import (
    NO_REASON_GIVEN,
    UNLIMITED,
    Buckets,
    Caller,
    Limits,
    Peer,
    Refusal,
    Rules,
    admit,
    has_room,
)
from cadnode.dimse.contexts import VERIFICATION, received_contexts
from cadnode.dimse.incoming import PARTIAL_SUFFIX, Allowance, SpoolingProvider
from cadnode.dimse.metering import AssociationMeter
from cadnode.dimse.server import Doorstep, Port, Server
from cadnode.dimse.storing import SUCCESS, IncomingObject, StoreAnswers
from cadnode.dimse.tls import ListenTls, RenewedContext, certificate_sha256, server_context
from cadnode.dimse.transport import BoundedSocket

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
POLITE_SECONDS = 0.5
"""For a peer to take an abort before its connection is cut."""


@dataclass(frozen=True, slots=True)
class ScpSettings:
    """How the receiver listens. `incoming_dir` lies on the file system of the spool."""

    ae_title: str
    host: str
    port: int
    incoming_dir: Path
    plain: bool = True
    """Whether `port` is listened on; without it only the one of `tls`."""
    tls: ListenTls | None = None
    peers: tuple[Peer, ...] = ()
    guests: tuple[Peer, ...] = ()
    """Callers that get C-ECHO and the further services, but may not store."""
    accept_unknown: bool = False
    limits: Limits = UNLIMITED
    """Of each sender that comes in unknown."""
    max_pdu: int = 1 << 17
    """Bytes of one P-DATA-TF that senders may use."""
    max_associations: int = 100
    shared: bool = False
    """Whether other processes of this user listen on the same addresses."""
    association_seconds: float = 30.0
    """From the connection to the whole A-ASSOCIATE-RQ."""
    network_seconds: float = 60.0
    """For one PDU, and for an association on which nothing comes."""


class Service(Protocol):
    """Something else that the port offers, or that watches what happens there."""

    def contexts(self) -> Sequence[PresentationContext]:
        """What it accepts, with the roles it needs."""
        ...

    def handlers(self) -> Sequence[tuple[Any, ...]]:
        """(event, handler) pairs for pynetdicom; each intervention event has one handler only."""
        ...


class StorageScp:
    """Listens for C-ECHO and C-STORE.

    `receive` keeps one object for good and is called from many threads at once; `room` says
    whether that many more bytes may be written; `services` answer what else comes on this port;
    `no_tls` is told the address and the reason where a TLS handshake failed; `meter` counts.
    """

    def __init__(
        self,
        settings: ScpSettings,
        receive: Callable[[IncomingObject], Acceptance],
        room: Callable[[int], bool] = lambda _size: True,
        services: Sequence[Service] = (),
        no_tls: Callable[[str, str], None] = lambda _address, _why: None,
        meter: AssociationMeter | None = None,
    ) -> None:
        self._settings = settings
        self._meter = meter or AssociationMeter(NoMetrics(), str)
        self._services = (*services, self._meter)
        self._store = StoreAnswers(self._meter.counted(receive), self._meter.answered)
        self._room = room
        self._no_tls = no_tls
        self._rules = Rules(
            own_ae_title=settings.ae_title,
            peers=settings.peers,
            guests=tuple(replace(guest, may_store=False) for guest in settings.guests),
            accept_unknown=settings.accept_unknown,
            unknown_limits=settings.limits,
            max_associations=settings.max_associations,
        )
        self._doorstep = Doorstep(settings.max_associations + 10)
        self._buckets = Buckets()
        self._door = threading.Lock()
        self._servers: list[Server] = []
        self._plain: Server | None = None
        self._encrypted: Server | None = None

    @property
    def port(self) -> int:
        """The plain port it listens on, also when the settings say 0."""
        return self._plain.number if self._plain else self._settings.port

    @property
    def tls_port(self) -> int | None:
        """The TLS port it listens on, also when the settings say 0; None without one."""
        if self._encrypted is not None:
            return self._encrypted.number
        return self._settings.tls.port if self._settings.tls else None

    def start(self) -> None:
        """Bind the addresses, sweep partial files that a killed process left, and listen.

        Raises ConfigError when an address cannot be bound, or not shared on this system, TlsUnusable when the certificate, its
        key or the CA does not serve.
        """
        settings = self._settings
        if settings.shared and not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError(
                "[node] receivers: this system does not let several processes listen on one"
                " address; run one receiver, or several behind a balancer"
            )
        settings.incoming_dir.mkdir(parents=True, exist_ok=True)
        context = _renewed(settings.tls) if settings.tls else None
        if settings.plain:
            self._plain = self._bind(settings.port, None)
        if settings.tls:
            self._encrypted = self._bind(settings.tls.port, context)
        # Only now: whoever else holds this address may be writing there.
        for partial in settings.incoming_dir.glob(f"*{PARTIAL_SUFFIX}"):
            partial.unlink(missing_ok=True)
        for server in self._servers:
            name = f"storage-scp-{server.number}"
            threading.Thread(
                target=server.serve_forever, args=(0.1,), name=name, daemon=True
            ).start()

    def stop(self) -> None:
        """Accept no more, let running stores finish (at most 10 s), then end what is left."""
        if not self._servers:
            return
        for server in self._servers:
            server.shutdown()
        self._store.wait_until_idle(STOP_SECONDS)
        associations = self._associations()
        for association in associations:
            cast("SpoolingProvider", association.dimse).ending.set()
            association.abort(block=False)
        _join(associations, POLITE_SECONDS)
        for association in associations:
            sock = association.dul.socket
            if isinstance(sock, BoundedSocket):
                sock.shut()
        _join(associations, POLITE_SECONDS)
        self._servers.clear()
        self._plain = self._encrypted = None

    def _bind(self, number: int, context: RenewedContext | None) -> Server:
        settings = self._settings
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self._store.answer),
            (evt.EVT_CONN_CLOSE, _on_end),
            (evt.EVT_ABORTED, _on_end),
            *(handler for service in self._services for handler in service.handlers()),
        ]
        port = Port(
            doorstep=self._doorstep,
            incoming_dir=settings.incoming_dir,
            room=self._room,
            longest_pdu=settings.max_pdu,
            association_seconds=settings.association_seconds,
            network_seconds=settings.network_seconds,
            most_threads=4 * settings.max_associations + 100,
            no_tls=self._without_tls,
            tls=context,
            shared=settings.shared,
        )
        try:
            server = Server(
                _application(settings), (settings.host, number), self._contexts(), handlers, port
            )
        except OSError as error:
            for other in self._servers:
                other.server_close()
            self._servers.clear()
            raise ConfigError(
                f"cannot listen on {settings.host}:{number}: {error.strerror or error}"
            ) from error
        self._servers.append(server)
        return server

    def _on_requested(self, event: Event) -> None:
        association = event.assoc
        request = cast("A_ASSOCIATE", association.requestor.primitive)
        connection = association.dul.socket.socket if association.dul.socket else None
        self._doorstep.leave(connection)
        caller = Caller(
            called_ae=str(request.called_ae_title),
            calling_ae=str(request.calling_ae_title),
            address=str(association.requestor.address),
            tls=isinstance(connection, ssl.SSLSocket),
            certificate_sha256=certificate_sha256(connection),
        )
        try:
            refusal = self._let_in(caller, association)
        except Exception as error:  # noqa: BLE001
            # pynetdicom lets in whoever this handler breaks on.
            refusal = Refusal(NO_REASON_GIVEN, f"admission broke: {type(error).__name__}")
        if refusal is None:
            return
        self._meter.refused(refusal)
        log.warning(
            "rejected %r at %s calling %r: %s",
            caller.calling_ae,
            caller.address,
            caller.called_ae,
            refusal.why,
        )
        association.acse.send_reject(*refusal.code)
        association.is_rejected = True
        # Waits until the rejection is on its way; the association's thread closes the socket next.
        association.kill()

    def _without_tls(self, address: str, why: str) -> None:
        self._meter.no_tls()
        self._no_tls(address, why)

    def _let_in(self, caller: Caller, association: Association) -> Refusal | None:
        peer = admit(caller, self._rules, _addresses)
        if isinstance(peer, Refusal):
            return peer
        with self._door:
            inside = [allowance.peer.name for allowance in self._allowances()]
            refusal = has_room(
                peer, self._rules, of_all=len(inside), of_peer=inside.count(peer.name)
            )
            if refusal is None:
                provider = cast("SpoolingProvider", association.dimse)
                provider.allowance = Allowance(peer, self._buckets.of(peer))
        if not peer.may_store:
            association.acceptor.supported_contexts = self._contexts(storage=False)
        return refusal

    def _contexts(self, *, storage: bool = True) -> list[PresentationContext]:
        contexts = [
            cx for cx in received_contexts() if storage or cx.abstract_syntax == VERIFICATION
        ]
        contexts.extend(cx for service in self._services for cx in service.contexts())
        return contexts

    def _allowances(self) -> list[Allowance]:
        """Of every association that was let in and has not ended."""
        found = []
        for association in self._associations():
            allowance = cast("SpoolingProvider", association.dimse).allowance
            ended = association.is_released or association.is_aborted or association.is_rejected
            if allowance is not None and not ended:
                found.append(allowance)
        return found

    def _associations(self) -> list[Association]:
        return [a for server in self._servers for a in server.active_associations]


def _application(settings: ScpSettings) -> ApplicationEntity:
    ae = ApplicationEntity(settings.ae_title)
    ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    # The limit is ours to check: pynetdicom counts connections that have not said a word.
    ae.maximum_associations = 1_000_000
    ae.maximum_pdu_size = settings.max_pdu
    ae.acse_timeout = settings.association_seconds
    ae.dimse_timeout = settings.network_seconds
    ae.network_timeout = settings.network_seconds
    return ae


def _renewed(tls: ListenTls) -> RenewedContext:
    required, files = tls.require_client_certificate, tls.files
    return RenewedContext(
        lambda: server_context(files, require_client_certificate=required),
        files.certificate,
        files.key,
        files.ca,
    )


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    ends = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))


def _on_end(event: Event) -> None:
    association = event.assoc
    cast("SpoolingProvider", association.dimse).discard()
    if association.requestor.primitive is None:
        # pynetdicom waits on for a request, though nobody is left to make one.
        association.dul.to_user_queue.put(cast("Any", None))


def _addresses(host: str) -> frozenset[str]:
    try:
        return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return frozenset()
