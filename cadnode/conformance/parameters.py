"""The parameters of the DICOM side, with the values in force; and the nodes that are configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from cadnode.config import Settings
from cadnode.config.tables import DestinationTable, PeerTable, PullTable, SourceTable
from cadnode.conformance.tables import code

Parameter = tuple[str, str, str]
"""Key, value and meaning."""

SINGLE: Final[Mapping[str, Mapping[str, str]]] = {
    "node": {
        "ae_title": "AE title of the node, as called and as calling AE",
        "host": "Address that is listened on",
        "port": "Port for plain associations",
        "plain": "Whether the plain port is listened on",
        "station_name": "Station Name (0008,1010) of created objects",
        "accept_unknown": "Whether a calling AE title that no entry fits may store",
        "max_associations": "Associations at once, of all peers together, that are accepted",
        "receivers": "Processes that receive on one port; each keeps to the limits for itself",
    },
    "tls": {
        "listen": "Whether a port for TLS is listened on",
        "port": "Its number",
        "certificate": "Certificate of the node (PEM)",
        "key": "Its private key",
        "ca": "Authorities whose certificates are trusted",
        "require_client_certificate": "Whether a caller needs a certificate",
    },
    "limits": {
        "max_associations": "Associations at once of one sender; 0: no limit of its own",
        "mb_per_minute": "MB a minute of one sender, which is read no faster; 0: no limit",
        "max_object_mb": "MB of one object; a larger one is answered 0xC001",
    },
    "exam": {
        "expected_views": "Views that complete an exam at once",
        "analyzed_views": "Views that are analyzed",
        "quiet_seconds": "Seconds after its last image that complete an exam otherwise",
    },
    "delivery": {
        "deadline_seconds": "Seconds for one association that sends, asks or proves",
        "first_delay_seconds": "Seconds before the second try",
        "longest_delay_seconds": "Longest time between two tries, seconds",
        "give_up_hours": "Hours of tries, then the delivery has failed",
        "commitment_delay_seconds": "Seconds from a delivery to the request for commitment",
        "commitment_report_seconds": "Seconds without a report, then commitment is asked again",
        "commitment_failures": "Times that an object which is not held is delivered again",
    },
    "retention": {
        "max_age_days": "Days that files of finished exams are kept",
        "reserve_mb": "MB of free disk below which C-STORE is answered 0xA700",
    },
    "audit": {
        "host": "Audit repository; without one there are no audit messages",
        "transport": "How it is reached",
        "port": "Its port; 0: 6514 by TLS, 514 by UDP",
    },
}
"""What each parameter of a table that stands once decides."""

REPEATED: Final[Mapping[str, tuple[type[BaseModel], Mapping[str, str]]]] = {
    "peers": (
        PeerTable,
        {
            "ae_title": "Calling AE title",
            "host": "Address, network or host name it has to come from; none: any",
            "port": "Port for commitment reports; none: on the association of the request only",
            "tls": "Whether it is accepted over TLS only",
            "certificate_sha256": "The one certificate it is accepted with",
            "may_store": "Whether it may store",
            "max_associations": "As in [limits]",
            "mb_per_minute": "As in [limits]",
            "max_object_mb": "As in [limits]",
        },
    ),
    "destinations": (
        DestinationTable,
        {
            "ae_title": "Called AE title",
            "host": "Its address or host name",
            "port": "Its port",
            "objects": "Kinds of created object that it gets",
            "commitment": "Whether it proves what it stored: auto, require or off",
            "enabled": "Whether anything is sent there",
            "tls": "Whether it is reached over TLS",
            "certificate_host": "Name its certificate has to be for, where that is not host",
        },
    ),
    "sources": (
        SourceTable,
        {
            "ae_title": "Called AE title",
            "host": "Its address or host name",
            "port": "Its port",
            "retrieve": "C-GET or C-MOVE",
            "deadline_seconds": "Seconds to fetch one study",
            "tls": "Whether it is reached over TLS",
            "certificate_host": "Name its certificate has to be for, where that is not host",
        },
    ),
    "pull": (
        PullTable,
        {
            "source": "Source that is asked by itself",
            "every_minutes": "How often",
            "days": "Studies of so many days before today",
            "modality": "Modality of the series that are fetched",
        },
    ),
}
"""What each parameter of a table decides that stands once for each remote node."""

SECRET: Final = frozenset({"tls.certificate", "tls.key", "tls.ca", "peers.certificate_sha256"})
"""Of which only is told whether they are set."""


def single(settings: Settings) -> Iterator[Parameter]:
    """Every parameter that stands once, with the value in force."""
    for name, meanings in SINGLE.items():
        in_force, defaults = getattr(settings, name), Settings.model_fields[name].default
        for key, meaning in meanings.items():
            value = getattr(in_force, key)
            default = getattr(defaults, key)
            if f"{name}.{key}" in SECRET:
                text = "set" if value else "not set"
            else:
                text = shown(value)
                if value != default:
                    text += f" (default {shown(default)})"
            yield f"[{name}] {key}", text, meaning


def repeated() -> Iterator[Parameter]:
    """Every parameter of a remote node, with its default."""
    for name, (table, meanings) in REPEATED.items():
        for key, meaning in meanings.items():
            field = table.model_fields[key]
            default = "has none" if field.is_required() else shown(field.default)
            yield f"[[{name}]] {key}", default, meaning


def shown(value: Any) -> str:
    """A value as it stands in the settings file; `none` for one that is left out."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, tuple):
        return ", ".join(map(code, value))
    return code(f"{value:g}" if isinstance(value, float) else value)


def local(settings: Settings) -> list[tuple[str, str, str]]:
    """Port, encryption and AE title on which the node is called."""
    node, tls = settings.node, settings.tls
    rows = [(code(node.ae_title), str(node.port), "no")] if node.plain else []
    return [*rows, (code(node.ae_title), str(tls.port), "yes")] if tls.listen else rows


def remote(settings: Settings) -> list[tuple[str, ...]]:
    """Name, AE title, host, port, TLS and what it is to the node, of every remote node."""
    rows = []
    for peer in settings.peers:
        does = "sends images" if peer.may_store else "C-ECHO and storage commitment only"
        rows.append(_remote(peer, does))
    for one in settings.destinations:
        kinds = ", ".join(one.objects)
        state = "" if one.enabled else "; not enabled"
        rows.append(_remote(one, f"gets {kinds}; commitment {one.commitment}{state}"))
    for source in settings.sources:
        pulled = [p for p in settings.pull if p.source == source.name]
        often = "".join(f"; asked every {p.every_minutes:g} min" for p in pulled)
        rows.append(_remote(source, f"images by C-{source.retrieve.upper()}{often}"))
    return rows


def _remote(table: PeerTable | DestinationTable | SourceTable, does: str) -> tuple[str, ...]:
    return (
        table.name,
        code(table.ae_title),
        table.host or "any",
        str(table.port or "-"),
        "yes" if table.tls else "no",
        does,
    )
