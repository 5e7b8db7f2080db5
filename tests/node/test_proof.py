"""Deliveries with proof through the real processes, killed between question and answer."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from cadnode.core.uids import derive_uid
from tests.integration.committing_archive import LATER, NEVER, SAME, committing_archive
from tests.integration.test_commitment_scp import Reports, modality, request
from tests.node.running import Node, Target, running_node, wait_until, write_all
from tests.objects import breast_phantom, four_views
from tests.peers import free_port

pytestmark = [pytest.mark.node, pytest.mark.peers]

SETTINGS = """
[delivery]
deadline_seconds = 20.0
commitment_delay_seconds = 0.2
commitment_report_seconds = 600.0
"""


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def send_exam(node: Node, folder, name: str) -> list[str]:
    """Four small views of a study of its own; their SOP Instance UIDs."""
    pictures = {view: breast_phantom(600, 480, 0.1, 1, view[0]) * 0.7
                for view in ("RCC", "LCC", "RMLO", "LMLO")}  # fmt: skip
    datasets = four_views(study_uid=derive_uid("proof", name), pictures=pictures, spacing_mm=0.1)
    assert node.storescu(*write_all(datasets, folder / name)) == 4
    return [str(dataset.SOPInstanceUID) for dataset in datasets]


def proofs(node: Node, exam_id: int) -> set[str] | None:
    """None while there is no such exam yet."""
    if len(node.exams()) < exam_id:
        return None
    return {delivery["proof"] for delivery in node.detail(exam_id)["deliveries"]}


def committed(node: Node, exam_id: int) -> None:
    wait_until(
        lambda: node.detail(exam_id)["exam"]["status"] == "committed",
        f"exam {exam_id} is committed",
        node,
    )


def test_every_exam_is_committed_whatever_is_killed_on_the_way(tmp_path):
    port = free_port()
    target = Target("pacs", "PACS", port, commitment="auto")
    with (
        running_node(tmp_path / "node", [target], lease_seconds=2.0, extra=SETTINGS) as node,
        committing_archive(node.port, port=port, finds=False, when=LATER) as archive,
    ):
        # The worker asks and dies; the report comes to the receiver.
        images = send_exam(node, tmp_path, "worker killed")
        wait_until(lambda: proofs(node, 1) == {"asked"}, "it is asked", node)
        os.kill(node.pid("work"), signal.SIGKILL)
        assert archive.report() == 0x0000
        committed(node, 1)
        assert len(archive.asked) == 1

        # The receiver is killed while the archive has something to report.
        send_exam(node, tmp_path, "receiver killed")
        wait_until(lambda: proofs(node, 2) == {"asked"}, "it is asked", node)
        node.kill("receive")
        wait_until(lambda: accepts(node.port), "the receiver listens again", node)
        assert archive.report() == 0x0000
        committed(node, 2)

        # The archive has lost what it stored, once.
        archive.when = NEVER
        send_exam(node, tmp_path, "lost")
        wait_until(lambda: proofs(node, 3) == {"asked"}, "it is asked", node)
        sent = {d["sop_instance_uid"] for d in node.detail(3)["deliveries"]}
        archive.lost = set(sent)
        assert archive.report() == 0x0000
        archive.lost, archive.when, archive.held = set(), SAME, set()
        committed(node, 3)
        assert archive.held == sent
        assert "E604" in {event["code"] for event in node.detail(3)["events"]}

        # And the node commits to its modality.
        reports = Reports()
        with modality(node, reports) as ask:
            assert ask(request(images, "1.2.840.10008.5.1.4.1.1.1.2")) == 0x0000
            assert set(reports.next()[1]) == set(images)

        assert "committed" in node.run("jobs", "show", "3")
        assert "commits (its report has to reach our port)" in node.run("check")
