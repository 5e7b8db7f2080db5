"""The TLS profile as the code sets it up."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

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
