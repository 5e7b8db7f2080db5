"""Where a request really comes from, and what a proxy says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

Network = IPv4Network | IPv6Network

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_FORWARDED = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The other end of a request."""

    address: str
    host: str
    """The Host header, with its port."""
    secure: bool
    """Encrypted on its way, as far as the last proxy we trust."""
    local: bool
    """From this very machine, with no proxy in between, under a name of this machine."""

    @property
    def site(self) -> str:
        """The name by which we were called, without the port."""
        return host_name(self.host)


def caller_of(scope: Scope, proxies: Sequence[Network]) -> Caller:
    """The caller; what proxies say counts only when the connection comes from one we trust."""
    headers = Headers(scope=scope)
    peer = str(scope["client"][0]) if scope.get("client") else ""
    host = headers.get("host", "")
    secure = scope["scheme"] == "https"
    forwarded = any(name in headers for name in _FORWARDED)
    if not is_within(peer, proxies):
        local = not forwarded and is_loopback(peer) and host_name(host) in LOOPBACK_NAMES
        return Caller(peer, host, secure, local)
    says = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    address = _client(headers.getlist("x-forwarded-for"), peer, proxies)
    return Caller(address, host, secure or says == "https", local=False)


def host_name(host: str) -> str:
    """A Host header without its port, in small letters."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower().rstrip(".")


def is_loopback(address: str) -> bool:
    """True for an address of this machine that no other machine can have."""
    found = _ip(address)
    return found is not None and bool(found.is_loopback)


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """True when one of the networks has this address."""
    found = _ip(address)
    return found is not None and any(found in network for network in networks)


def _client(lines: Sequence[str], peer: str, proxies: Sequence[Network]) -> str:
    """The nearest address that is not a trusted proxy; what stands before it may be made up."""
    address = peer
    for part in reversed(",".join(lines).split(",")):
        found = part.strip()
        if _ip(found) is None:
            break
        address = found
        if not is_within(found, proxies):
            break
    return address


def _ip(address: str) -> Any:
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
