"""The whole node watched while it works: scraped without a pause, with a destination that is down,
a worker that is killed, and a mail server that hears of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydicom import dcmread

from cadnode.core.metrics import RECORDED, Counter, Histogram
from tests.mail_server import mail_server
from tests.node.running import Node, Target, running_node, wait_until, write_all
from tests.objects import four_views
from tests.peers import free_port, require, storescp

pytestmark = [pytest.mark.node, pytest.mark.peers]

IDENTIFYING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
)

ONLY_GROW = tuple(metric.name for metric in RECORDED if isinstance(metric, Counter | Histogram))


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def numbers(port: int) -> dict[str, float]:
    status, text = get(port, "/metrics")
    assert status == 200
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def readiness(port: int) -> dict[str, Any]:
    abilities: dict[str, Any] = json.loads(get(port, "/readyz")[1])["abilities"]
    return abilities


class Scraper:
    """Scrapes all the time, and keeps what it saw fall that may only grow."""

    def __init__(self, port: int) -> None:
        self.scrapes = 0
        self.fallen: list[str] = []
        self._port = port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def running(self) -> Iterator[Scraper]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._thread.join()

    def _run(self) -> None:
        before: dict[str, float] = {}
        while not self._stopping.wait(0.3):
            now = numbers(self._port)
            for name, value in before.items():
                if name.startswith(ONLY_GROW) and now.get(name, 0.0) < value:
                    self.fallen.append(f"{name}: {value} -> {now.get(name)}")
            before = now
            self.scrapes += 1


def test_a_node_at_work_is_watched_from_outside(tmp_path: Path):
    port = free_port()
    images = write_all(four_views()[:2], tmp_path / "exam")
    dead = Target("ws", "WS", free_port())
    with mail_server() as mail, storescp(tmp_path, ae_title="PACS") as archive:
        extra = (
            f'[notify]\nmail_host = "127.0.0.1"\nmail_port = {mail.port}\nmail_security = "none"\n'
            'mail_from = "node@hospital.example"\nmail_to = ["it@hospital.example"]\n'
            'kinds = ["destination-down"]\ndestination_minutes = 0.02\nquiet_minutes = 0\n'
        )
        targets = [Target("pacs", "PACS", archive.port), dead]
        with running_node(tmp_path / "node", targets, extra=extra, web_port=port) as node:
            wait_until(lambda: '"event": "the console is up"' in node.log, "the console", node)
            with Scraper(port).running() as scraper:
                watch(node, port, images)
                wait_until(lambda: len(mail.mails) > 0, "a mail comes", node)
                lose_the_worker(node, port)
            assert scraper.scrapes > 20
            assert scraper.fallen == []
            text = get(port, "/metrics")[1]
            said = text + mail.mails[0].as_string()
            for image in images:
                one = dcmread(image, stop_before_pixels=True)
                for name in IDENTIFYING:
                    assert str(one[name].value) not in said, name
            promtool = require("promtool", "prometheus")
            done = subprocess.run(
                [promtool, "check", "metrics"],
                input=text.encode(),
                capture_output=True,
                check=False,
            )
            assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert mail.mails[0]["Subject"] == "CADNODE: ws does not answer"


def watch(node: Node, port: int, images: list[Path]) -> None:
    """An exam comes, is analyzed, reaches one archive and waits for the other."""
    wait_until(lambda: get(port, "/readyz")[0] == 200, "the node is ready", node)
    assert node.storescu(*images) == 2
    node.storescu(*images[:1])
    node.storescu(*images[:1], calling="STRANGER")

    def delivered() -> bool:
        found = numbers(port)
        stored = found['cadnode_deliveries_total{"destination": "pacs", "result": "stored"}']
        down = found['cadnode_destination_up{"destination": "ws"}'] == 0
        return stored > 0 and down

    wait_until(delivered, "the archive has the result, and the other one is down", node)
    found = numbers(port)
    assert found['cadnode_images_received_total{"outcome": "new", "sender": "MG1"}'] == 2
    assert found['cadnode_images_received_total{"outcome": "same", "sender": "MG1"}'] == 1
    size = sum(image.stat().st_size for image in images) + images[0].stat().st_size
    kept = found['cadnode_received_bytes_total{"sender": "MG1"}']
    assert 0.9 * size < kept < 1.1 * size
    assert found['cadnode_associations_accepted_total{"sender": "MG1"}'] == 2
    assert found['cadnode_associations_refused_total{"reason": "calling AE title"}'] == 1
    assert found["cadnode_receive_duration_seconds_count{}"] == 3
    assert found['cadnode_images_analyzed_total{"outcome": "analyzed"}'] == 2
    assert found["cadnode_decode_duration_seconds_count{}"] == 2
    assert found["cadnode_patches_total{}"] >= 2
    assert found["cadnode_patch_seconds_total{}"] > 0
    assert found['cadnode_report_duration_seconds_count{"kind": "mammography-cad-sr"}'] == 1
    assert found['cadnode_delivery_duration_seconds_count{"destination": "pacs"}'] >= 1
    assert found['cadnode_exams{"status": "reported"}'] == 1
    assert found['cadnode_deliveries_waiting{"destination": "ws"}'] >= 1
    assert found['cadnode_deliveries_waiting{"destination": "pacs"}'] == 0
    assert found["cadnode_associations_open{}"] == 0
    assert [name for name in found if name.startswith("cadnode_model_info")]
    assert readiness(port)["deliver"] == {"ready": True, "reason": "no answer from ws"}


def lose_the_worker(node: Node, port: int) -> None:
    """SIGKILL: /readyz says so, and nothing that was counted is lost when another one is there."""
    before = numbers(port)
    os.kill(node.pid("work"), signal.SIGKILL)
    wait_until(lambda: not readiness(port)["analyze"]["ready"], "the worker is missed", node)
    said = readiness(port)
    assert said["receive"]["ready"]
    assert said["analyze"]["reason"] in ("`cadnode work` is not seen", "the model is being loaded")
    wait_until(lambda: get(port, "/readyz")[0] == 200, "another one is there", node)
    after = numbers(port)
    restarts = 'cadnode_process_restarts_total{"process": "work"}'
    assert (before[restarts], after[restarts]) == (0, 1)
    assert after["cadnode_patches_total{}"] == before["cadnode_patches_total{}"]
