"""Settings and peers of this node: what is in force, whom it talks to, and do they answer?"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic

import structlog

from cadnode.app import App, utc_now
from cadnode.config.tables import DestinationTable, PeerTable, SourceTable
from cadnode.core.errors import ConfigError, NotFound
from cadnode.core.node_status import CertificateStatus
from cadnode.core.peers import AskedService, EchoAnswer, PeerEntry, PeerKind
from cadnode.core.provenance import SettingsInForce
from cadnode.dimse.commitment_messages import STORAGE_COMMITMENT
from cadnode.dimse.destination import Destination
from cadnode.dimse.find import STUDY_ROOT_FIND
from cadnode.dimse.scu import DicomSender, Timeouts
from cadnode.dimse.sub_operations import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from cadnode.dimse.tls import ClientTls
from cadnode.dimse.tls_check import agreed_with
from cadnode.network import destination_of, tls_files
from cadnode.result_parts import RESULT_CLASSES
from cadnode.status import certificates_of
from cadnode.storage.day import DayRecords
from cadnode.store import Store

log = structlog.get_logger(__name__)

DEADLINES = Timeouts(connect=5.0, association=5.0, answer=5.0, delivery=10.0)
"""A person waits for the answer."""

SAME_ANSWER = timedelta(seconds=3)
"""Nobody is asked more often; whoever asks sooner gets the answer of then."""

MOST_AT_ONCE = 4
"""Peers that are asked at one moment."""

Table = DestinationTable | SourceTable | PeerTable


class NodePeers:
    """`Peers` of cadnode.web.peers.ports."""

    def __init__(self, app: App, store: Store, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._app = app
        self._day = DayRecords(store.database)
        self._clock = clock
        self._locks: dict[tuple[PeerKind, str], threading.Lock] = defaultdict(threading.Lock)
        self._answers: dict[tuple[PeerKind, str], EchoAnswer] = {}
        self._asking = threading.BoundedSemaphore(MOST_AT_ONCE)

    def settings(self) -> SettingsInForce:
        """Every setting and where it came from, secrets hidden."""
        return self._app.origins.in_force(self._app.settings)

    def certificates(self) -> Sequence[CertificateStatus]:
        """Every certificate that the settings name."""
        return tuple(certificates_of(self._app.settings))

    def peers(self) -> Sequence[PeerEntry]:
        """Destinations, sources and senders. Raises DatabaseUnavailable."""
        settings = self._app.settings
        senders = {peer.ae_title for peer in settings.peers}
        senders |= {source.ae_title for source in settings.sources}
        newest = self._day.newest_exams(senders)
        return tuple(self._entries(newest))

    def echo(self, kind: PeerKind, name: str, *, by: str) -> EchoAnswer:
        """Ask a peer whether it answers. Raises NotFound, ConfigError."""
        table = self._table(kind, name)
        destination = self._reached(table)
        with self._locks[kind, name]:
            last = self._answers.get((kind, name))
            # Either way: the clock may have been set back.
            if last is not None and abs(self._clock() - last.asked_at) < SAME_ANSWER:
                return last
            with self._asking:
                answer = self._ask(kind, table, destination)
            self._answers[kind, name] = answer
        log.info("echo", peer=name, kind=kind, by=by, reachable=answer.reachable)
        return answer

    def _ask(self, kind: PeerKind, table: Table, destination: Destination) -> EchoAnswer:
        services = _services(table)
        sender = DicomSender(destination, self._app.settings.node.ae_title, DEADLINES)
        asked_at, began = self._clock(), monotonic()
        found = sender.check(tuple(services.values()))
        milliseconds = (monotonic() - began) * 1000
        agreed = agreed_with(destination, DEADLINES.connect) if found.reachable else None
        return EchoAnswer(
            kind=kind,
            name=table.name,
            asked_at=asked_at,
            milliseconds=round(milliseconds, 1),
            reachable=found.reachable,
            detail=found.detail,
            services=tuple(
                AskedService(name, uid, found.accepted.get(uid, False))
                for name, uid in services.items()
                if found.reachable
            ),
            tls=agreed,
        )

    def _table(self, kind: PeerKind, name: str) -> Table:
        settings = self._app.settings
        tables: Mapping[PeerKind, Sequence[Table]] = {
            PeerKind.PEER: settings.peers,
            PeerKind.DESTINATION: settings.destinations,
            PeerKind.SOURCE: settings.sources,
        }
        for table in tables[kind]:
            if table.name == name:
                return table
        raise NotFound(f"the settings have no {kind} {name!r}")

    def _reached(self, table: Table) -> Destination:
        settings = self._app.settings
        if not isinstance(table, PeerTable):
            return destination_of(settings, table)
        if not _says_where(table):
            raise ConfigError(
                f"peers: {table.name!r} has no host and port, so nobody can send it a C-ECHO"
            )
        host, port = str(table.host), int(table.port or 0)
        tls = ClientTls(tls_files(settings), host) if table.tls else None
        return Destination(table.name, table.ae_title, host, port, tls)

    def _entries(self, newest: Mapping[str, datetime]) -> Iterator[PeerEntry]:
        settings = self._app.settings
        for destination in settings.destinations:
            yield _entry(PeerKind.DESTINATION, destination, _destination_facts(destination), None)
        for source in settings.sources:
            pulls = [pull for pull in settings.pull if pull.source == source.name]
            facts = [
                f"C-{source.retrieve.upper()}",
                *(
                    f"pulled every {pull.every_minutes:g} min ({pull.modality or 'any modality'})"
                    for pull in pulls
                ),
            ]
            yield _entry(PeerKind.SOURCE, source, facts, newest.get(source.ae_title))
        for peer in settings.peers:
            yield _entry(PeerKind.PEER, peer, _peer_facts(peer), newest.get(peer.ae_title))


def _entry(
    kind: PeerKind, table: Table, facts: Sequence[str], last_exam_at: datetime | None
) -> PeerEntry:
    port = f":{table.port}" if table.port else ""
    return PeerEntry(
        kind=kind,
        name=table.name,
        ae_title=table.ae_title,
        address=f"{table.host}{port}" if table.host else "",
        tls=table.tls,
        can_echo=not isinstance(table, PeerTable) or _says_where(table),
        facts=tuple(facts),
        last_exam_at=last_exam_at,
    )


def _says_where(peer: PeerTable) -> bool:
    return bool(peer.port and peer.host and "/" not in peer.host)


def _destination_facts(table: DestinationTable) -> Sequence[str]:
    enabled = () if table.enabled else ("not enabled",)
    return (*enabled, f"gets {', '.join(table.objects)}", f"commitment {table.commitment}")


def _peer_facts(peer: PeerTable) -> Sequence[str]:
    return (
        "may store" if peer.may_store else "may not store",
        *(("over TLS only",) if peer.tls else ()),
        *(("with one certificate only",) if peer.certificate_sha256 else ()),
    )


def _services(table: Table) -> Mapping[str, str]:
    """What a peer is asked for besides C-ECHO, by name."""
    if isinstance(table, DestinationTable):
        wanted: dict[str, str] = {kind: RESULT_CLASSES[kind] for kind in table.objects}
        return {**wanted, "storage commitment": STORAGE_COMMITMENT, "C-FIND": STUDY_ROOT_FIND}
    if isinstance(table, SourceTable):
        retrieve = STUDY_ROOT_GET if table.retrieve == "get" else STUDY_ROOT_MOVE
        return {"C-FIND": STUDY_ROOT_FIND, f"C-{table.retrieve.upper()}": retrieve}
    return {}
