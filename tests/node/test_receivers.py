"""Several receivers behind one address: on one port of one machine, and behind HAProxy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cadnode.app import App
from cadnode.config import load_settings
from tests.integration import pdus
from tests.integration.modality import FOR_PRESENTATION, Modality, image
from tests.node.running import run_cadnode, running_node, wait_until
from tests.peers import free_port, require, running, stop

PATIENCE = 60.0
DOCS = Path(__file__).parents[2] / "docs" / "scaling.md"


class HalfSent:
    """An association in the middle of an object."""

    def __init__(self, port: int, uid: str, stack: ExitStack) -> None:
        self.uid = uid
        self.modality = stack.enter_context(Modality(port, calling="MG1"))
        self.modality.associate()
        self._data_set = image(uid, study=f"1.2.3.{uid}", size=40_000)
        command = pdus.c_store_rq(FOR_PRESENTATION, uid)
        half = self._data_set[:20_000]
        self._send(pdus.fragment(1, command, command=True, last=True))
        self._send(pdus.fragment(1, half, command=False, last=False))

    def finish(self) -> int:
        """Send the rest; the status of the answer, -1 when there is none."""
        try:
            self._send(pdus.fragment(1, self._data_set[20_000:], command=False, last=True))
        except OSError:
            return -1
        return self.modality.answer()[0]

    def _send(self, data: bytes) -> None:
        self.modality.connection.sendall(data)


def partials(data: Path, number: int) -> int:
    """How many objects receiver `number` is writing."""
    return len(list((data / "incoming" / f"receiver-{number}").glob("*.part")))


def until(holds: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > ends:
            pytest.fail(f"waited in vain until {what}")
        time.sleep(0.02)


def kept(config: Path) -> int:
    """Images in the database."""
    store = App(load_settings(config, {})).open_store()
    try:
        return sum(exam.images for exam in store.records.list_exams())
    finally:
        store.close()


def test_one_receiver_dies_and_the_other_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CADNODE_NODE__RECEIVERS", "2")
    with running_node(tmp_path, [], quiet_seconds=600) as node, ExitStack() as stack:
        data = tmp_path / "data"

        def receivers() -> Sequence[dict[str, object]]:
            return [e for e in node.events() if e.get("event") == "receiving"]

        wait_until(lambda: len(receivers()) == 2, "both listen", node)
        sent = [HalfSent(node.port, f"1.2.{number}", stack) for number in range(16)]
        wait_until(lambda: partials(data, 1) + partials(data, 2) == 16, "all are written", node)
        of_each = [partials(data, number) for number in (1, 2)]
        assert min(of_each) > 0

        names = re.findall(r"receive(?: 2)?\b", node.run("status"))
        assert {"receive", "receive 2"} <= set(names)

        node.kill("receive 2")
        wait_until(lambda: len(receivers()) == 3, "it listens again", node)
        assert receivers()[-1]["receiver"] == 2
        assert partials(data, 1) == of_each[0]
        assert partials(data, 2) == 0
        answers = [half.finish() for half in sent]
        assert answers.count(0x0000) == of_each[0]
        assert answers.count(-1) == of_each[1]
        assert kept(node.config) == of_each[0]

        assert [HalfSent(node.port, f"1.3.{n}", stack).finish() for n in range(8)] == [0] * 8


class Pair:
    """Two `cadnode receive` of one node on two ports."""

    def __init__(self, folder: Path) -> None:
        self.config, self.data, self._log = folder / "cadnode.toml", folder / "data", folder / "log"
        self.config.write_text(
            '[node]\nhost = "127.0.0.1"\ndata_dir = "data"\nreceivers = 2\n'
            '[[peers]]\nname = "room"\nae_title = "MG1"\n'
            '[[peers]]\nname = "by address"\nae_title = "MG2"\nhost = "127.0.0.1"\n'
            "[retention]\nreserve_mb = 1\n[web]\nenabled = false\n"
        )
        self.ports = (free_port(), free_port())
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *ports: int) -> None:
        """Come back when they listen."""
        said = self._said()
        for port in ports:
            with self._log.open("ab") as output:
                self._processes[port] = subprocess.Popen(
                    [sys.executable, "-m", "cadnode", "receive", "--config", str(self.config)],
                    env={**os.environ, "CADNODE_NODE__PORT": str(port)},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        until(lambda: self._said() == said + len(ports), "they listen")

    def kill(self, port: int) -> None:
        """SIGKILL."""
        self._processes[port].kill()
        self._processes[port].wait()

    def stop(self) -> None:
        """End both."""
        for process in self._processes.values():
            stop(process)

    def _said(self) -> int:
        return self._log.read_text().count("receiving") if self._log.exists() else 0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    two = Pair(tmp_path_factory.mktemp("pair"))
    try:
        two.start(*two.ports)
        yield two
    finally:
        two.stop()


@pytest.fixture(scope="module")
def balancer(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port."""
    with haproxy(tmp_path_factory.mktemp("haproxy"), pair.ports) as port:
        yield port


@contextmanager
def haproxy(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """HAProxy with the settings of docs/scaling.md in front of these ports, seen from 127.0.0.2."""
    program = require("haproxy", "haproxy")
    (text,) = re.findall(r"```haproxy\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    port = free_port()
    text = text.replace("0.0.0.0:11112", f"127.0.0.1:{port}")
    for place, behind in zip(("10.0.0.21:11112", "10.0.0.22:11112"), ports, strict=True):
        assert place in text
        text = text.replace(place, f"127.0.0.1:{behind} source 127.0.0.2")
    config = folder / "haproxy.cfg"
    config.write_text(text)
    with running([program, "-db", "-f", config], port, folder / "haproxy.log"):
        yield port


def test_a_balancer_spreads_senders_and_passes_by_a_receiver_that_is_away(
    pair: Pair, balancer: int
):
    with ExitStack() as stack:
        sent = [HalfSent(balancer, f"1.2.{number}", stack) for number in range(8)]
        until(lambda: [partials(pair.data, n) for n in (1, 2)] == [4, 4], "both have half of them")
        assert [half.finish() for half in sent] == [0] * 8
    pair.kill(pair.ports[0])
    with ExitStack() as stack:
        assert [HalfSent(balancer, f"1.3.{n}", stack).finish() for n in range(4)] == [0] * 4
    assert kept(pair.config) == 12
    pair.start(pair.ports[0])


def test_behind_a_balancer_the_address_is_the_balancers(pair: Pair, balancer: int):
    for port, kind in ((balancer, pdus.ASSOCIATE_RJ), (pair.ports[0], pdus.ASSOCIATE_AC)):
        with Modality(port, calling="MG2") as modality:
            assert modality.associate()[0] == kind


def test_one_more_than_the_settings_say_is_refused(pair: Pair):
    assert "so many run already" in run_cadnode("receive", "--config", str(pair.config), status=2)
