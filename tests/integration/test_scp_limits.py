"""What one sender may take of the receiver, and what a guest gets."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import evt
from pynetdicom.presentation import build_context

from cadnode.dimse.admission import Limits, Peer
from cadnode.dimse.scp import ScpSettings, StorageScp
from tests.integration import pdus
from tests.integration.modality import FOR_PRESENTATION, IMPLICIT, Modality, image
from tests.integration.receiver import Receiver, receiver

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"


def limited(**limits: int) -> dict[str, Any]:
    """Settings that know LIMITED, with these limits, and everybody else without any."""
    return {"peers": (Peer("limited", "LIMITED", limits=Limits(**limits)),)}


def serves(node: Receiver) -> bool:
    with Modality(node.port) as modality:
        return modality.associate()[0] == pdus.ASSOCIATE_AC and modality.store("1.2.3.9")[0] == 0


def test_a_sender_with_all_its_associations_is_rejected_for_now_and_others_are_not(
    tmp_path: Path,
) -> None:
    with receiver(tmp_path, **limited(max_associations=2)) as node:
        three = [Modality(node.port, calling="LIMITED") for _ in range(3)]
        answers = [modality.associate() for modality in three]
        assert [kind for kind, _ in answers] == [2, 2, pdus.ASSOCIATE_RJ]
        assert tuple(answers[2][1][1:]) == (2, 3, 2)
        assert serves(node)

        assert three[0].release() == pdus.RELEASE_RP
        three[0].connection.close()
        assert _comes_in(node, "LIMITED")
        three[1].abort()
        assert _comes_in(node, "LIMITED")
        for modality in three:
            modality.connection.close()


def _comes_in(node: Receiver, calling: str) -> bool:
    """True when an association is accepted within a few seconds: the last one has to end first."""
    for _ in range(50):
        with Modality(node.port, calling=calling) as modality:
            if modality.associate()[0] == pdus.ASSOCIATE_AC:
                modality.release()
                return True
        time.sleep(0.1)
    return False


def test_an_object_beyond_the_limit_is_dropped_early_and_answered_for_good(tmp_path: Path) -> None:
    with (
        receiver(tmp_path, **limited(max_object_bytes=1 << 20)) as node,
        Modality(node.port, calling="LIMITED") as modality,
    ):
        modality.associate()
        large = image("1.2.3.1", size=int(1.5 * (1 << 20)))
        modality.store("1.2.3.1", large, only=0.9)
        _until(lambda: not node.partial(), "the partial file is gone before the object is whole")
        rest = large[int(len(large) * 0.9) :]
        modality.connection.sendall(pdus.fragment(1, rest, command=False, last=True))
        status, comment = modality.answer()
        assert status == 0xC001
        assert "1 MB" in comment
        assert modality.store("1.2.3.2", image("1.2.3.2", size=900_000)) == (0x0000, "")

    assert list(node.kept()) == ["1.2.3.2"]


def test_an_object_without_end_ends_the_association(tmp_path: Path) -> None:
    with (
        receiver(tmp_path, **limited(max_object_bytes=1 << 20)) as node,
        Modality(node.port, calling="LIMITED") as modality,
    ):
        modality.associate()
        command = pdus.c_store_rq(FOR_PRESENTATION, "1.2.3.1")
        modality.connection.sendall(pdus.fragment(1, command, command=True, last=True))
        sent = _send_until_cut(modality, 1 << 30)

        assert sent < 16 << 20
        assert node.partial() == []
        assert serves(node)


def _send_until_cut(modality: Modality, most: int) -> int:
    piece = pdus.fragment(1, bytes(100_000), command=False, last=False)
    for sent in range(0, most, 100_000):
        try:
            modality.connection.sendall(piece)
        except ConnectionError:
            return sent
    return most


def test_a_sender_beyond_its_bytes_a_minute_is_slowed_down_and_nobody_else(tmp_path: Path) -> None:
    with (
        receiver(tmp_path, network_seconds=3, **limited(bytes_per_minute=600_000)) as node,
        Modality(node.port, calling="LIMITED") as modality,
    ):
        modality.associate()
        answers: list[tuple[int, str]] = []
        begun = time.monotonic()
        # A minute's worth comes at once; the 40 kB beyond it take 4 s, longer than the receiver
        # waits for a sender that says nothing.
        sending = threading.Thread(
            target=lambda: answers.append(modality.store("1.2.3.1", image("1.2.3.1", size=640_000)))
        )
        sending.start()
        assert serves(node)
        assert time.monotonic() - begun < 3
        sending.join(30)

    assert answers == [(0x0000, "")]
    assert time.monotonic() - begun > 3.5


def test_stopping_does_not_wait_for_a_sender_that_is_held_back(tmp_path: Path) -> None:
    with receiver(tmp_path, **limited(bytes_per_minute=60_000)) as node:
        modality = Modality(node.port, calling="LIMITED")
        modality.associate()
        modality.store("1.2.3.1", image("1.2.3.1", size=1_000_000), only=0.2)
        begun = time.monotonic()
        node.scp.stop()
        assert time.monotonic() - begun < 5
        modality.connection.close()


def test_requests_that_nobody_waits_for_end_the_association(tmp_path: Path) -> None:
    go_on = threading.Event()
    with receiver(tmp_path) as node:
        node.before_keeping = lambda _object: _wait(go_on)
        with Modality(node.port) as modality:
            modality.associate()
            data_set = image("1.2.3.1", size=10)
            one = pdus.fragment(
                1, pdus.c_store_rq(FOR_PRESENTATION, "1.2.3.1"), command=True, last=True
            )
            one += pdus.fragment(1, data_set, command=False, last=True)
            for _ in range(500):
                try:
                    modality.connection.sendall(one)
                except ConnectionError:
                    break
            assert len(node.partial()) < 150
            go_on.set()
            assert modality.seconds_until_closed() < 10
        assert serves(node)


class _Commitment:
    """A further service of the port: a stand-in for storage commitment."""

    def contexts(self) -> list[Any]:
        return [build_context(STORAGE_COMMITMENT, [IMPLICIT])]

    def handlers(self) -> list[tuple[Any, ...]]:
        return [(evt.EVT_N_EVENT_REPORT, lambda _event: (0x0000, None))]


def test_a_guest_gets_the_further_services_and_may_not_store(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    scp = StorageScp(
        ScpSettings(
            "CADNODE", "127.0.0.1", 0, tmp_path / "incoming", guests=(Peer("pacs", "PACS"),)
        ),
        receive=lambda _object: pytest.fail("a guest has stored"),
        services=[_Commitment()],
    )
    scp.start()
    try:
        with Modality(scp.port, calling="PACS") as guest:
            asked = [(VERIFICATION, IMPLICIT), (STORAGE_COMMITMENT, IMPLICIT)]
            kind, body = guest.associate([*asked, (FOR_PRESENTATION, IMPLICIT)])
            results = [content[2] for item, content in pdus.items(body[68:]) if item == 0x21]
            assert (kind, results) == (pdus.ASSOCIATE_AC, [0, 0, 3])
            assert guest.echo() == 0x0000
            # It tries all the same, over the context of C-ECHO.
            guest.store("1.2.3.1", image("1.2.3.1", size=1 << 20), only=0.9)
            assert list((tmp_path / "incoming").iterdir()) == []
        with Modality(scp.port, calling="STRANGER") as stranger:
            assert stranger.associate()[0] == pdus.ASSOCIATE_RJ
    finally:
        scp.stop()


def test_a_peer_that_may_not_store_is_told_so(tmp_path: Path) -> None:
    peers = (Peer("pacs", "PACS", may_store=False),)
    with receiver(tmp_path, peers=peers) as node, Modality(node.port, calling="PACS") as modality:
        modality.associate([(VERIFICATION, IMPLICIT)])
        status, _ = modality.store("1.2.3.1")

    assert status in (0x0124, -1)
    assert node.objects == []


def _until(holds: Any, what: str) -> None:
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends, what
        time.sleep(0.01)


def _wait(event: threading.Event) -> None:
    event.wait(20)


@pytest.mark.parametrize("host", ["a..b", "unknown.invalid"])
def test_a_host_name_that_means_nothing_lets_nobody_in(host: str, tmp_path: Path) -> None:
    known = Peer("limited", "LIMITED", host=host)
    with (
        receiver(tmp_path, accept_unknown=False, peers=(known,)) as node,
        Modality(node.port, calling="LIMITED") as modality,
    ):
        kind, body = modality.associate()
        assert (kind, tuple(body[1:])) == (pdus.ASSOCIATE_RJ, (1, 1, 3))


def test_who_cannot_be_judged_is_not_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("cadnode.dimse.scp.admit", broken)
    with receiver(tmp_path) as node, Modality(node.port) as modality:
        kind, body = modality.associate()
        assert (kind, tuple(body[1:])) == (pdus.ASSOCIATE_RJ, (2, 1, 1))
