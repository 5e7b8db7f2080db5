"""The TLS profile as the code sets it up, and the audit messages as it writes them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree

from cadnode.audit.messages import AuditSource, audit_message
from cadnode.core.audit import (
    ApplicationStarted,
    ApplicationStopped,
    AuditEvent,
    Held,
    InstancesAccessed,
    InstancesTransferred,
    NodeRefused,
    Party,
    Queried,
    StudyDeleted,
    TransferBegun,
    UserLogin,
    UserLogout,
)
from cadnode.dimse.tls import client_without_files, server_without_files


def versions() -> str:
    """The versions of TLS that are spoken, on either side."""
    lowest = {server_without_files().minimum_version, client_without_files().minimum_version}
    known = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    return ", ".join(
        one.name.replace("TLSv", "TLS ").replace("_", ".") for one in known if one >= max(lowest)
    )


def suites() -> Iterator[tuple[str, str, str]]:
    """(version, name, number) of every suite that both a server and a client of ours take."""
    ours = {str(suite["name"]): suite for suite in server_without_files().get_ciphers()}
    theirs = {str(suite["name"]) for suite in client_without_files().get_ciphers()}
    for name in sorted(ours.keys() & theirs):
        suite = ours[name]
        number = int(suite["id"]) & 0xFFFF
        version = str(suite["protocol"]).replace("TLSv", "TLS ")
        yield version, standard_name(name), f"0x{number >> 8:02X},0x{number & 0xFF:02X}"


def standard_name(name: str) -> str:
    """The name in the IANA registry of a suite that OpenSSL calls so."""
    if name.startswith("TLS_"):
        return name
    exchange, _, cipher = re.sub(r"AES(\d+)", r"AES_\1", name).partition("-AES_")
    if cipher:
        return f"TLS_{exchange}_WITH_AES_{cipher}".replace("-", "_")
    exchange = name.removesuffix("-CHACHA20-POLY1305")
    return f"TLS_{exchange}_WITH_CHACHA20_POLY1305_SHA256".replace("-", "_")


_HERE, _THERE = Party("NODE", "node.example"), Party("PEER", "peer.example")

EVENTS: Final[Sequence[tuple[AuditEvent, str]]] = (
    (ApplicationStarted("work", 1), "one of the node's processes is ready"),
    (ApplicationStopped("work", 1), "one of them was told to stop"),
    (
        NodeRefused(_THERE, "unknown"),
        "an association was rejected or broke the protocol, or a TLS handshake failed",
    ),
    (TransferBegun(_HERE, _THERE, ()), "results are about to be sent"),
    (
        InstancesTransferred(_THERE, _HERE, (), Held.NOTHING_OF_IT),
        "images of a study came over one association, or results were sent",
    ),
    (Queried(_HERE, _THERE, "1.2", b"", "1.2"), "a source was asked which exams it has"),
    (InstancesAccessed("somebody", "", ()), "a person was shown an exam in the console"),
    (StudyDeleted("1.2", 1), "the files of an exam were purged"),
    (UserLogin("somebody", ""), "somebody signed in to the console, or was refused"),
    (UserLogout("somebody", ""), "somebody signed out"),
)
"""One event of each sort that is reported, and when."""


def audit_messages() -> Iterator[tuple[str, str, str]]:
    """(event, event type, when) of every audit message, as it is written."""
    source = AuditSource("example", "NODE", "node.example", "work", 1)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for event, when in EVENTS:
        root = ElementTree.fromstring(audit_message(event, at=at, source=source))  # noqa: S314  our own
        said = root[0]
        yield _coded(said.find("EventID")), _coded(said.find("EventTypeCode")), when


def _coded(code: ElementTree.Element | None) -> str:
    return "" if code is None else f"{code.get('csd-code')} {code.get('originalText')}"
