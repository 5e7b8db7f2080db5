"""Who may come in and what each one may take, as decisions on plain values."""

from __future__ import annotations

import pytest

from cadnode.dimse.admission import (
    CALLED_AE_UNKNOWN,
    CALLING_AE_UNKNOWN,
    LOCAL_LIMIT_EXCEEDED,
    Bucket,
    Buckets,
    Caller,
    Limits,
    Peer,
    Refusal,
    Rules,
    admit,
    has_room,
    is_at,
)

PIN = "ab" * 32

PEERS = (
    Peer("anywhere", "ANY"),
    Peer("room 1", "MG", "10.0.0.11"),
    Peer("room 2", "MG", "10.0.0.12"),
    Peer("floor", "FLOOR", "10.0.5.0/24"),
    Peer("named", "NAMED", "mg.example"),
    Peer("closed", "TLS", tls=True),
    Peer("pinned", "PIN", certificate_sha256=PIN),
)


def resolve(host: str) -> frozenset[str]:
    return frozenset({"10.0.0.77"} if host == "mg.example" else ())


GUESTS = (Peer("pacs", "PACS", "10.0.0.2", may_store=False), Peer("tls pacs", "TLSPACS", tls=True))


def decide(caller: Caller, *, accept_unknown: bool = False) -> str | tuple[int, int, int]:
    """The name of the entry, or the code of the rejection."""
    found = admit(caller, Rules("CADNODE", PEERS, GUESTS, accept_unknown), resolve)
    return found.code if isinstance(found, Refusal) else found.name


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller("CADNODE", "ANY", "192.0.2.1"), "anywhere"),
        (Caller("OTHER", "ANY", "192.0.2.1"), CALLED_AE_UNKNOWN),
        (Caller("cadnode", "ANY", "192.0.2.1"), CALLED_AE_UNKNOWN),
        (Caller("OTHER", "STRANGER", "192.0.2.1"), CALLED_AE_UNKNOWN),
        (Caller("CADNODE", "STRANGER", "192.0.2.1"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "any", "192.0.2.1"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "MG", "10.0.0.11"), "room 1"),
        (Caller("CADNODE", "MG", "10.0.0.12"), "room 2"),
        (Caller("CADNODE", "MG", "10.0.0.13"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "MG", "::ffff:10.0.0.12"), "room 2"),
        (Caller("CADNODE", "FLOOR", "10.0.5.200"), "floor"),
        (Caller("CADNODE", "FLOOR", "10.0.6.1"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "FLOOR", "fe80::1%eth0"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "NAMED", "10.0.0.77"), "named"),
        (Caller("CADNODE", "NAMED", "10.0.0.78"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "TLS", "192.0.2.1", tls=True), "closed"),
        (Caller("CADNODE", "TLS", "192.0.2.1"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "PIN", "192.0.2.1", tls=True, certificate_sha256=PIN), "pinned"),
        (Caller("CADNODE", "PIN", "192.0.2.1", tls=True, certificate_sha256="0"), (1, 1, 3)),
        (Caller("CADNODE", "PIN", "192.0.2.1"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "PACS", "10.0.0.2"), "pacs"),
        (Caller("CADNODE", "PACS", "10.0.0.3"), CALLING_AE_UNKNOWN),
    ],
)
def test_the_first_entry_that_fits_or_the_reason_of_the_rejection(
    caller: Caller, expected: str | tuple[int, int, int]
) -> None:
    assert decide(caller) == expected


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller("CADNODE", "STRANGER", "192.0.2.1"), "unknown at 192.0.2.1"),
        (Caller("CADNODE", "MG", "192.0.2.1"), "unknown at 192.0.2.1"),
        (Caller("CADNODE", "MG", "10.0.0.11"), "room 1"),
        (Caller("OTHER", "STRANGER", "192.0.2.1"), CALLED_AE_UNKNOWN),
        (Caller("CADNODE", "TLS", "192.0.2.1"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "PIN", "192.0.2.1", tls=True), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "PACS", "10.0.0.2"), "unknown at 10.0.0.2"),
        (Caller("CADNODE", "TLSPACS", "10.0.0.2"), CALLING_AE_UNKNOWN),
        (Caller("CADNODE", "TLSPACS", "10.0.0.2", tls=True), "tls pacs"),
    ],
)
def test_accepting_unknown_ones_lets_in_nobody_as_one_who_has_to_prove_it(
    caller: Caller, expected: str | tuple[int, int, int]
) -> None:
    assert decide(caller, accept_unknown=True) == expected


def test_unknown_ones_have_the_limits_that_the_rules_give_them() -> None:
    limits = Limits(max_associations=3)
    rules = Rules("CADNODE", PEERS, accept_unknown=True, unknown_limits=limits)

    found = admit(Caller("CADNODE", "X", "192.0.2.1"), rules)

    assert isinstance(found, Peer)
    assert found.limits == limits


def test_a_host_name_that_is_not_known_is_nobody_s_address() -> None:
    assert not is_at("no.example", "10.0.0.1", resolve)


@pytest.mark.parametrize(
    ("own_limit", "of_all", "of_peer", "room"),
    [(0, 9, 9, True), (0, 10, 0, False), (2, 5, 1, True), (2, 5, 2, False), (2, 5, 3, False)],
)
def test_there_is_room_until_the_node_s_or_the_sender_s_own_limit(
    own_limit: int, of_all: int, of_peer: int, room: bool
) -> None:
    peer = Peer("a", "A", limits=Limits(max_associations=own_limit))

    refusal = has_room(peer, Rules("N", max_associations=10), of_all=of_all, of_peer=of_peer)

    assert (refusal is None) is room
    if refusal:
        assert refusal.code == LOCAL_LIMIT_EXCEEDED


def test_a_minute_s_worth_may_come_at_once_and_then_no_faster() -> None:
    bucket = Bucket(600)

    assert bucket.wait_after(600, now=100.0) == 0
    assert bucket.wait_after(10, now=100.0) == pytest.approx(1.0)
    assert bucket.wait_after(10, now=101.0) == pytest.approx(1.0)
    # Two of its associations share what there is.
    assert bucket.wait_after(10, now=101.0) == pytest.approx(2.0)
    assert bucket.wait_after(10, now=104.0) == pytest.approx(0.0)
    assert bucket.wait_after(600, now=1000.0) == 0


def test_whatever_comes_in_a_long_time_keeps_to_the_limit() -> None:
    bucket, now, read = Bucket(6000), 0.0, 0
    while now < 600:
        read += 128
        now += 0.001 + bucket.wait_after(128, now)

    assert 60_000 <= read <= 66_200


def test_a_sender_has_one_bucket_over_all_of_its_associations() -> None:
    buckets = Buckets()
    limited = Peer("a", "A", limits=Limits(bytes_per_minute=60))

    assert buckets.of(limited) is buckets.of(limited)
    assert buckets.of(Peer("b", "B")) is None
