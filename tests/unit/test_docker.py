"""What docker/ holds, judged by the tools that read it: hadolint, Compose, systemd, our settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from cadnode.config import load_settings
from tests.peers import require

DOCKER = Path(__file__).parents[2] / "docker"


def said_by(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_hadolint_finds_nothing_to_say_about_the_dockerfile():
    assert said_by(require("hadolint", "make:tools"), str(DOCKER / "Dockerfile")) == ""


def test_hadolint_would_say_something():
    bad = subprocess.run(
        [require("hadolint", "make:tools"), "-"],
        input="FROM debian\nRUN apt-get install make\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode != 0


@pytest.mark.parametrize("more", [(), ("-f", str(DOCKER / "compose.gpu.yaml"))])
def test_compose_understands_the_pair(more):
    compose = require("docker-compose", "docker-compose")
    said = said_by(compose, "-f", str(DOCKER / "compose.yaml"), *more, "config")
    assert ("cadnode:gpu" in said) == bool(more)
    assert "read_only: true" in said


def test_compose_understands_the_cluster_and_its_settings_hold(monkeypatch):
    compose = require("docker-compose", "docker-compose")
    files = [
        word for name in ("", ".celery") for word in ("-f", str(DOCKER / f"compose{name}.yaml"))
    ]
    monkeypatch.setenv("CLUSTER_SECRET", "a-secret")
    said = yaml.safe_load(said_by(compose, *files, "config"))
    for service in ("node", "worker"):
        for name, value in said["services"][service]["environment"].items():
            monkeypatch.setenv(name, value)
        settings = load_settings(DOCKER / "cadnode.toml")
        broker, database = (
            urlsplit(url) for url in (settings.celery.broker_url, settings.database_url)
        )
        assert settings.celery.enabled
        assert broker.hostname in said["services"]
        assert database.hostname in said["services"]
        assert (broker.username, broker.password) == ("cadnode", "a-secret")
        assert "node-data" in said["volumes"]


def test_the_settings_of_the_container_hold_and_name_what_compose_names():
    settings = load_settings(DOCKER / "cadnode.toml", {})
    compose = (DOCKER / "compose.yaml").read_text()
    archive = json.loads((DOCKER / "orthanc.json").read_text())
    destination = settings.destination("archive")
    assert f"\n  {destination.host}:\n" in compose
    assert (destination.ae_title, destination.port) == (archive["DicomAet"], archive["DicomPort"])
    assert archive["DicomModalities"]["node"] == [
        settings.node.ae_title,
        "node",
        settings.node.port,
    ]
    assert f":{settings.node.data_dir}\n" in compose
    assert f'"{settings.node.port}:{settings.node.port}"' in compose
    assert f'"127.0.0.1:{settings.web.port}:{settings.web.port}"' in compose


def test_no_port_but_the_one_for_images_is_published_beyond_the_host():
    ports = re.findall(
        r'^      - "(\S+:\d+)"$', (DOCKER / "compose.yaml").read_text(), re.MULTILINE
    )
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["11112:11112"]


def test_every_file_the_dockerfile_copies_is_there_and_reaches_the_build():
    copied = re.findall(r"^COPY ((?!--from)\S.*) \S+$", (DOCKER / "Dockerfile").read_text(), re.M)
    sources = {source for line in copied for source in line.split()}
    wanted = {f"!{source}" for source in sources}
    assert wanted == set((DOCKER.parent / ".dockerignore").read_text().split()) - {
        "*",
        "**/__pycache__",
    }
    assert all((DOCKER.parent / source).exists() for source in sources)


def test_systemd_understands_the_unit_and_finds_it_closed(tmp_path):
    analyze = require("systemd-analyze", "systemd")
    program = Path(sys.executable).parent / "cadnode"
    unit = tmp_path / "cadnode.service"
    text = (DOCKER / "cadnode.service").read_text()
    unit.write_text(text.replace("/opt/cadnode/bin/cadnode", str(program)))
    assert said_by(analyze, "verify", "--man=no", str(unit)) == ""
    # In tenths of 10; a service that says nothing has 9.6.
    said_by(analyze, "security", "--offline=true", "--no-pager", "--threshold=25", str(unit))
