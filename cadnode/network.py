"""The settings in the terms of the network part: who may come in, and how others are reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadnode.config import Settings
from cadnode.config.tables import DestinationTable, PeerTable, SourceTable
from cadnode.core.commitment import CommitmentRequest
from cadnode.core.errors import ConfigError
from cadnode.dimse.admission import Limits, Peer
from cadnode.dimse.destination import Destination
from cadnode.dimse.scp import ScpSettings
from cadnode.dimse.tls import ClientTls, ListenTls, TlsFiles


def destination_of(settings: Settings, table: DestinationTable | SourceTable) -> Destination:
    """How a destination or a source is reached."""
    tls = None
    if table.tls:
        tls = ClientTls(tls_files(settings), table.certificate_host or table.host)
    return Destination(table.name, table.ae_title, table.host, table.port, tls)


def report_address(settings: Settings, request: CommitmentRequest) -> Destination | None:
    """Where the one who asked for a commitment takes its report; None when nobody has said.

    A peer without a host, or with a network in its place, is reached where it came from.
    """
    for peer in settings.peers:
        if peer.ae_title == request.calling_ae and peer.port is not None:
            host = peer.host if peer.host and "/" not in peer.host else request.calling_host
            tls = ClientTls(tls_files(settings), host) if peer.tls else None
            return Destination(peer.name, peer.ae_title, host, peer.port, tls)
    for destination in settings.destinations:
        if destination.ae_title == request.calling_ae:
            return destination_of(settings, destination)
    return None


def tls_files(settings: Settings) -> TlsFiles:
    """The node's certificate, its key and the CA. Raises ConfigError when they are not all set."""
    tls = settings.tls
    if tls.certificate is None or tls.key is None or tls.ca is None:
        raise ConfigError("tls: certificate, key and ca belong together")
    return TlsFiles(tls.certificate, tls.key, tls.ca)


def scp_settings(settings: Settings, incoming_dir: Path) -> ScpSettings:
    """How the receiver listens, and to whom.

    Besides the peers: sources, which send what was asked of them, and destinations as guests,
    which report on storage commitment. Whoever is reached over TLS has to come by TLS too.
    """
    node, tls = settings.node, settings.tls
    listen = None
    if tls.listen:
        listen = ListenTls(tls.port, tls_files(settings), tls.require_client_certificate)
    return ScpSettings(
        ae_title=node.ae_title,
        host=node.host,
        port=node.port,
        incoming_dir=incoming_dir,
        plain=node.plain,
        tls=listen,
        peers=(*(_peer(settings, peer) for peer in settings.peers), *_sources(settings)),
        guests=tuple(_guests(settings)),
        accept_unknown=node.accept_unknown,
        limits=_limits(settings),
        max_associations=node.max_associations,
        shared=node.receivers > 1,
    )


def _peer(settings: Settings, peer: PeerTable) -> Peer:
    return Peer(
        name=f"peer {peer.name}",
        ae_title=peer.ae_title,
        host=peer.host,
        tls=peer.tls,
        certificate_sha256=peer.certificate_sha256,
        may_store=peer.may_store,
        limits=_limits(settings, peer),
    )


def _sources(settings: Settings) -> Iterator[Peer]:
    for source in settings.sources:
        # By C-GET it sends on our own association and has no business at the port.
        if source.retrieve == "move":
            yield Peer(
                name=f"source {source.name}",
                ae_title=source.ae_title,
                host=source.host,
                tls=source.tls,
                limits=_limits(settings),
            )


def _guests(settings: Settings) -> Iterator[Peer]:
    for destination in settings.destinations:
        yield Peer(
            name=f"destination {destination.name}",
            ae_title=destination.ae_title,
            host=destination.host,
            tls=destination.tls,
            may_store=False,
            limits=_limits(settings),
        )


def _limits(settings: Settings, peer: PeerTable | None = None) -> Limits:
    def of(key: str) -> int:
        own: int | None = getattr(peer, key, None)
        return int(getattr(settings.limits, key)) if own is None else own

    return Limits(
        max_associations=of("max_associations"),
        bytes_per_minute=of("mb_per_minute") << 20,
        max_object_bytes=of("max_object_mb") << 20,
    )
