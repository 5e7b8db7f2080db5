"""The receiver as a process, with the TLS settings of its file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cadnode.app import App
from cadnode.config import load_settings
from tests import objects
from tests.certificates import SiteCa
from tests.peers import free_port, require, running

pytestmark = pytest.mark.node


def receive(config: Path) -> list[str]:
    return [sys.executable, "-m", "cadnode", "receive", "--config", str(config)]


@pytest.mark.peers
def test_storescu_stores_over_tls_where_no_plain_port_is_open(tmp_path: Path) -> None:
    program = require("storescu", "dcmtk")
    ca, port, plain = SiteCa(tmp_path / "ca"), free_port(), free_port()
    ca.issue("node")
    modality = ca.issue("modality")
    config = tmp_path / "cadnode.toml"
    config.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {plain}\nplain = false\ndata_dir = "data"\n'
        f'[tls]\nlisten = true\nport = {port}\ncertificate = "ca/node.crt"\nkey = "ca/node.key"\n'
        'ca = "ca/ca.crt"\n[retention]\nreserve_mb = 1\n'
        '[[peers]]\nname = "room 1"\nae_title = "MG1"\nhost = "127.0.0.0/8"\ntls = true\n'
    )
    path = objects.write(objects.mammogram(), tmp_path / "sent.dcm")
    way = ["+tls", str(modality.key), str(modality.certificate), "+cf", str(modality.ca)]

    def store(calling: str, port: int, *options: str) -> int:
        command = [program, "-aet", calling, "-aec", "CADNODE", *options, "127.0.0.1", str(port)]
        return subprocess.run(
            [*command, str(path)],
            check=False,
            capture_output=True,
            timeout=60,
            env={**os.environ, "TCP_NODELAY": "1"},
        ).returncode

    with running(receive(config), port, tmp_path / "receive.log"):
        assert store("MG1", plain) != 0
        assert store("STRANGER", port, *way) != 0
        assert store("MG1", port, *way) == 0

    opened = App(load_settings(config, {})).open_store()
    try:
        (exam,) = opened.records.list_exams()
    finally:
        opened.close()
    assert exam.images == 1
    assert "'MG1' at 127.0.0.1" not in (tmp_path / "receive.log").read_text()


def test_a_key_that_is_open_to_others_keeps_the_receiver_from_starting(tmp_path: Path) -> None:
    SiteCa(tmp_path / "ca").issue("node").key.chmod(0o644)
    config = tmp_path / "cadnode.toml"
    config.write_text(
        '[node]\nhost = "127.0.0.1"\nport = 0\ndata_dir = "data"\n[tls]\nlisten = true\nport = 0\n'
        'certificate = "ca/node.crt"\nkey = "ca/node.key"\nca = "ca/ca.crt"\n'
    )

    done = subprocess.run(receive(config), check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "E102 tls.key: " in done.stderr
    assert "chmod 0600" in done.stderr
