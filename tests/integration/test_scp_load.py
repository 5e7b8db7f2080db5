"""The Storage SCP with many senders at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.integration import pdus
from tests.integration.modality import Modality, image
from tests.integration.receiver import receiver

VERIFICATION = "1.2.840.10008.1.1"
SENDERS = 50


def test_fifty_associations_at_once_while_echo_answers(tmp_path: Path) -> None:
    """All fifty stand, then all send at the same time; nobody is turned away or forgotten."""
    meet = threading.Barrier(SENDERS + 1)
    answers: list[int] = []

    def send(number: int) -> None:
        with Modality(node.port, calling=f"MOD{number}") as modality:
            kind, _ = modality.associate()
            meet.wait(20)
            if kind == pdus.ASSOCIATE_AC:
                uid = f"1.2.3.{number}"
                answers.append(modality.store(uid, image(uid, size=200_000))[0])
                modality.release()

    with receiver(tmp_path) as node:
        threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        meet.wait(20)
        with Modality(node.port) as echo:
            echo.associate([(VERIFICATION, "1.2.840.10008.1.2")])
            begun = time.monotonic()
            assert echo.echo() == 0x0000
            assert time.monotonic() - begun < 5
        for thread in threads:
            thread.join(30)

        assert answers == [0x0000] * SENDERS
        assert len(node.kept()) == SENDERS
        assert node.partial() == []
