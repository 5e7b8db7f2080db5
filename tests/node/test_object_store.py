"""A node on two machines: PostgreSQL and an object store between them, the real programs on both."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cadnode.core.uids import derive_uid
from tests.node.running import Node, Target, running_node, wait_until, write_all
from tests.objects import four_views
from tests.peers import free_port, storescp
from tests.swift import SECRET, Swift

pytestmark = [pytest.mark.node, pytest.mark.peers]


def test_what_a_machine_has_acknowledged_another_one_reads_and_delivers_when_the_first_is_gone(
    tmp_path: Path, object_store: Swift, postgres_url: str
):
    access = object_store.access()
    shared = (
        f'[database]\nurl = "{postgres_url}"\n[storage]\nurl = "{access.url}"\n'
        f'endpoint_url = "{access.endpoint_url}"\naccess_key = "{access.access_key}"\n'
        f'secret_key = "{access.secret_key}"\n'
    )
    images = write_all(four_views(study_uid=derive_uid("two machines")), tmp_path / "images")
    first = tmp_path / "first"
    first.mkdir()
    port = free_port()
    (first / "cadnode.toml").write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\n'
        f'[[peers]]\nname = "room 1"\nae_title = "MG1"\n[log]\nformat = "json"\n{shared}'
    )
    command = [sys.executable, "-m", "cadnode", "receive", "--config", str(first / "cadnode.toml")]
    with (first / "node.log").open("wb") as log:
        receiver = Node(first, port, subprocess.Popen(command, stdout=log, stderr=log))
    try:
        wait_until(lambda: '"event": "receiving"' in receiver.log, "it listens", receiver)
        assert receiver.storescu(*images) == len(images)
    finally:
        receiver.process.kill()
        receiver.process.wait()
    shutil.rmtree(first / "data")

    with (
        storescp(tmp_path, ae_title="PACS") as archive,
        running_node(
            tmp_path / "second", [Target("pacs", "PACS", archive.port)], extra=shared
        ) as second,
    ):
        (exam,) = second.wait_for("delivered")
        results = second.detail(exam["id"])["results"]
        assert "mammography-cad-sr" in {result["kind"] for result in results}
        assert len(archive.files()) == len(results)
        assert {image["state"] for image in second.detail(exam["id"])["images"]} == {"analyzed"}
        assert "no errors" in second.run("fsck", "--deep")
        assert SECRET not in second.run("config", "show") + second.log + receiver.log
