"""The page of the day and `cadnode status` of a running node: they say what happens to it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cadnode.cli import cli
from cadnode.core.uids import derive_uid
from tests.node.running import Target, running_node, wait_until, write_all
from tests.objects import breast_phantom, four_views
from tests.peers import free_port, require, running

VIEWS = ("RCC", "LCC", "RMLO", "LMLO")

pytestmark = [pytest.mark.node, pytest.mark.peers]


def page_of(port: int, path: str) -> str:
    """What the running console answers to whoever sits at the machine."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return str(answer.read().decode())


def said(config: Path, *, well: bool = True) -> str:
    """What `cadnode status` prints; its exit status says whether all is well."""
    answer = CliRunner().invoke(cli, ["status", "--config", str(config)])
    assert answer.exit_code == (0 if well else 1), answer.output
    return answer.output


def test_the_page_and_the_command_say_what_happens_to_a_destination(tmp_path: Path):
    storescp = require("storescp", "dcmtk")
    archive, web = free_port(), free_port()
    pictures = {view: breast_phantom(500, 400, 0.1, 1, view[0]) for view in VIEWS}
    exam = four_views(study_uid=derive_uid("today"), pictures=pictures, spacing_mm=0.1)
    images = write_all(exam, tmp_path / "images")
    with running_node(
        tmp_path / "node", [Target("pacs", "ARCHIVE", archive)], web_port=web
    ) as node:

        def status() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(page_of(web, "/api/v1/status"))
            return found

        def runs_on() -> list[str]:
            return [p["facts"]["device"] for p in status()["processes"] if p["facts"]["device"]]

        wait_until(lambda: '"event": "the console is up"' in node.log, "the console is up", node)
        wait_until(runs_on, "the worker says what its model runs on", node)
        found = status()
        assert {process["name"] for process in found["processes"]} == {"receive", "work", "web"}
        assert (found["is_well"], found["alerts"]) == (True, [])
        assert "All is well." in said(node.config)

        assert node.storescu(*images) == 4
        wait_until(lambda: not status()["is_well"], "the destination is missed", node)
        (alert,) = status()["alerts"]
        assert (alert["topic"], alert["subject"]) == ("destination", "pacs")
        assert "pacs does not answer since" in page_of(web, "/")
        assert "PROBLEM  pacs does not answer since" in said(node.config, well=False)

        log = tmp_path / "storescp.log"
        folder = tmp_path / "archive"
        folder.mkdir()
        command: list[str | Path] = [storescp, "-aet", "ARCHIVE", "-od", folder, str(archive)]
        with running(command, archive, log):
            node.wait_for("delivered")
            wait_until(lambda: status()["is_well"], "the destination is back", node)
            assert list(folder.iterdir())
            day = status()["day"]
            assert (day["delivering"], day["took_week"]["exams"]) == (0, 1)
            assert day["took_week"]["p95_seconds"] > 0
            assert status()["destinations"][0]["delivered_at"]
            assert "All is well." in said(node.config)
    assert "The node does not run" in said(node.config, well=False)
