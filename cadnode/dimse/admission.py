"""Who may come in, and what each one may take: decisions on plain values.

| the request                                                       | answer (PS3.8 table 9-21)   |
| ----------------------------------------------------------------- | --------------------------- |
| calls an AE title that is not ours                                | 1/1/7 called AE unknown     |
| calling AE title is in no entry of the list                       | 1/1/3 calling AE unknown    |
| it is, but the address is not that of the entry                   | 1/1/3                       |
| it is, but the entry wants TLS and the connection is plain        | 1/1/3                       |
| it is, but the certificate is not the one the entry names         | 1/1/3                       |
| the node has as many associations as it takes                     | 2/3/2 local limit exceeded  |
| this sender has as many as it may have                            | 2/3/2                       |
| this decision cannot be made                                      | 2/1/1 no reason given       |
| else                                                              | accepted as the first entry |
|                                                                   | that fits                   |

Peers are looked at first, guests last. With `accept_unknown` a caller that fits no peer comes in
as an unknown one, unless an entry with its AE title wants TLS or a certificate: whoever says so
means it.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CALLED_AE_UNKNOWN = (0x01, 0x01, 0x07)
CALLING_AE_UNKNOWN = (0x01, 0x01, 0x03)
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
NO_REASON_GIVEN = (0x02, 0x01, 0x01)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sender may take; 0 is no limit."""

    max_associations: int = 0
    """At once."""
    bytes_per_minute: int = 0
    max_object_bytes: int = 0


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Peer:
    """A sender that is let in, and under which conditions.

    `host` is an address, a network ("10.0.0.0/24") or a host name. One without `may_store` is let
    in for the other services of the port only: a C-STORE from it is answered 0x0124.
    """

    name: str
    ae_title: str
    host: str | None = None
    tls: bool = False
    certificate_sha256: str | None = None
    """Of the whole certificate, as hexadecimal digits; only this one will do."""
    may_store: bool = True
    limits: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of whoever asks for an association."""

    called_ae: str
    calling_ae: str
    address: str
    tls: bool = False
    certificate_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Result, source and reason of a rejection, and why in words."""

    code: tuple[int, int, int]
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides: our title, the list, and what unknown ones may take."""

    own_ae_title: str
    peers: Sequence[Peer] = ()
    guests: Sequence[Peer] = ()
    """Those that are let in for something else than to store."""
    accept_unknown: bool = False
    unknown_limits: Limits = UNLIMITED
    max_associations: int = 100


def admit(
    caller: Caller,
    rules: Rules,
    resolve: Callable[[str], frozenset[str]] = lambda _host: frozenset(),
) -> Peer | Refusal:
    """The entry that the caller comes in as, or why not.

    `resolve` gives the addresses of a host name, none for one that is not known.
    """
    if caller.called_ae != rules.own_ae_title:
        return Refusal(CALLED_AE_UNKNOWN, "the called AE title is not ours")
    peers = [peer for peer in rules.peers if peer.ae_title == caller.calling_ae]
    guests = [guest for guest in rules.guests if guest.ae_title == caller.calling_ae]
    entries = [*peers, *guests]
    if rules.accept_unknown and not any(p.tls or p.certificate_sha256 for p in entries):
        unknown = f"unknown at {caller.address}"
        entries = [*peers, Peer(unknown, caller.calling_ae, limits=rules.unknown_limits)]
    why = "the calling AE title is not known"
    for entry in entries:
        misfit = _misfit(caller, entry, resolve)
        if misfit is None:
            return entry
        why = misfit
    return Refusal(CALLING_AE_UNKNOWN, why)


def has_room(peer: Peer, rules: Rules, *, of_all: int, of_peer: int) -> Refusal | None:
    """Why one association more is too many: with so many there are of all and of this peer."""
    if of_all >= rules.max_associations:
        return Refusal(LOCAL_LIMIT_EXCEEDED, "the node has as many associations as it takes")
    if 0 < peer.limits.max_associations <= of_peer:
        return Refusal(LOCAL_LIMIT_EXCEEDED, "this sender has as many associations as it may have")
    return None


def _misfit(caller: Caller, peer: Peer, resolve: Callable[[str], frozenset[str]]) -> str | None:
    if peer.host is not None and not is_at(peer.host, caller.address, resolve):
        return "this AE title is not known at this address"
    if peer.tls and not caller.tls:
        return "this AE title is accepted over TLS only"
    if peer.certificate_sha256 and peer.certificate_sha256 != caller.certificate_sha256:
        return "this AE title is accepted with another certificate only"
    return None


def is_at(host: str, address: str, resolve: Callable[[str], frozenset[str]]) -> bool:
    """True when `address` is the host, lies in the network, or belongs to the host name."""
    found = _plain(address)
    try:
        return found in ipaddress.ip_network(host, strict=False)
    except ValueError:
        return found in {_plain(other) for other in resolve(host)}


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    # A socket that listens for both families gives IPv4 callers as ::ffff:10.0.0.1.
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed


class Bucket:
    """How long a sender has to wait so that it keeps to its bytes a minute.

    A minute's worth may come at once; beyond it every byte waits for its turn.
    """

    def __init__(self, bytes_per_minute: int) -> None:
        self._per_second = bytes_per_minute / 60
        self._burst = float(bytes_per_minute)
        self._level = 0.0
        self._at = 0.0
        self._lock = threading.Lock()

    def wait_after(self, size: int, now: float) -> float:
        """Seconds until more may be read, after `size` bytes at `now` (seconds)."""
        with self._lock:
            leaked = max(0.0, now - self._at) * self._per_second
            self._level = max(0.0, self._level - leaked) + size
            self._at = max(self._at, now)
            return max(0.0, self._level - self._burst) / self._per_second


@dataclass(slots=True)
class Buckets:
    """One bucket for each limited sender, over all of its associations."""

    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, peer: Peer) -> Bucket | None:
        """The sender's bucket; None for one without a limit."""
        if not peer.limits.bytes_per_minute:
            return None
        with self._lock:
            return self._buckets.setdefault(peer.name, Bucket(peer.limits.bytes_per_minute))
