"""Two workers over one job database: they share the work, also while the model is being updated."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread

import cadnode
from cadnode.core.uids import derive_uid
from cadnode.dicom.sr_reader import read_report
from tests.node.running import Node, Target, running_node, wait_until, write_all
from tests.objects import breast_phantom, four_views
from tests.peers import free_port, orthanc

pytestmark = [pytest.mark.node, pytest.mark.peers]

(SHIPPED,) = (Path(cadnode.__file__).parents[1] / "models" / "calc-resnet50").iterdir()
OLD, NEW = SHIPPED.name, "99.0.0"


def exam(folder: Path, name: str) -> list[Path]:
    """Four small views."""
    pictures = {
        view: breast_phantom(300, 240, 0.1, seed, view[0])
        for seed, view in enumerate(("RCC", "LCC", "RMLO", "LMLO"))
    }
    datasets = four_views(study_uid=derive_uid(name), pictures=pictures, spacing_mm=0.1)
    return write_all(datasets, folder / name)


def analyses(node: Node) -> Counter[str]:
    """How often each image was analyzed, by what the node wrote down."""
    return Counter(
        event["text"].split()[1]
        for each in node.exams()
        for event in node.detail(each["id"])["events"]
        if event["kind"] == "image-analyzed"
    )


@pytest.mark.timeout(400)
def test_two_workers_of_one_machine_share_the_exams_and_do_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("CADNODE_WORK__PROCESSES", "2")
    exams = [exam(tmp_path, f"shared {number}") for number in range(8)]
    with (
        orthanc(tmp_path) as archive,
        running_node(tmp_path / "node", [Target("pacs", "ORTHANC", archive.port)]) as node,
    ):
        wait_until(lambda: node.log.count('"event": "the model is ready"') == 2, "two models", node)
        assert node.storescu(*(file for files in exams for file in files)) == 32
        node.wait_for("delivered", exams=8)

        assert set(analyses(node).values()) == {1}
        details = [node.detail(each["id"]) for each in node.exams()]
        workers = {
            event["actor"]
            for detail in details
            for event in detail["events"]
            if event["kind"] == "image-analyzed"
        }
        assert len(workers) == 2
        made = [result["sop_instance_uid"] for detail in details for result in detail["results"]]
        held = [each["MainDicomTags"] for each in archive.get("/instances?expand")]
        assert sorted(made) == sorted(tags["SOPInstanceUID"] for tags in held)

        said = node.run("status", status=0)
        assert "work 2" in said
        before = node.pid("work 2")
        node.kill("work 2")
        assert node.pid("work 2") != before


@contextmanager
def process(command: str, config: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """One process of the node by itself, and its log; told to stop at the end."""
    log = config.with_suffix(f".{command}.log")
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "cadnode", command, "--config", str(config)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield running, log
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def bundles(folder: Path) -> Path:
    """A folder with the shipped bundle, and with the same weights as a newer version."""
    for version in (OLD, NEW):
        home = folder / "calc-resnet50" / version
        home.mkdir(parents=True)
        for file in SHIPPED.iterdir():
            if file.name != "manifest.toml":
                (home / file.name).symlink_to(file)
        manifest = (SHIPPED / "manifest.toml").read_text()
        (home / "manifest.toml").write_text(
            manifest.replace(f'version = "{OLD}"', f'version = "{version}"')
        )
    return folder


def settings(folder: Path, version: str, port: int, archive_port: int) -> Path:
    """A file of settings for one version of the model; all of them share one data folder."""
    file = folder / f"{version}.toml"
    file.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\n'
        '[[peers]]\nname = "room 1"\nae_title = "MG1"\n'
        f'[model]\nfolder = "models"\nversion = "{version}"\n'
        '[log]\nformat = "json"\n[retention]\nreserve_mb = 1\n[web]\nenabled = false\n'
        '[[destinations]]\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
        f'port = {archive_port}\ncommitment = "off"\n'
    )
    return file


def models_of(node: Node, exam_id: int) -> set[str]:
    """The version that each image of an exam was read by, and that each of its results names."""
    detail = node.detail(exam_id)
    found = {image["model"].split()[-1] for image in detail["images"]}
    for result in detail["results"]:
        report = read_report(dcmread(node.folder / "data" / result["path"]))
        assert report.algorithms
        found |= {version for _, version in report.algorithms}
    assert detail["results"]
    return found


@pytest.mark.timeout(600)
def test_workers_with_two_versions_of_the_model_leave_each_exam_one_result_of_one(tmp_path):
    bundles(tmp_path / "models")
    port = free_port()
    with orthanc(tmp_path) as archive, ExitStack() as stack:
        old, new = (settings(tmp_path, version, port, archive.port) for version in (OLD, NEW))
        receiver, log = stack.enter_context(process("receive", old))
        (tmp_path / "cadnode.toml").symlink_to(old)
        node = Node(tmp_path, port, receiver)
        (tmp_path / "node.log").symlink_to(log)
        wait_until(lambda: '"event": "receiving"' in node.log, "the node listens", node)

        old_worker, _ = stack.enter_context(process("work", old))
        first = exam(tmp_path, "before the update")
        assert node.storescu(*first) == 4
        node.wait_for("delivered")
        assert models_of(node, 1) == {OLD}

        halves = [exam(tmp_path, f"during {number}") for number in range(5)]
        assert node.storescu(*(file for files in halves for file in files[:2])) == 10
        wait_until(lambda: len(analyses(node)) == 14, "the first halves are read", node)
        _, log = stack.enter_context(process("work", new))
        wait_until(lambda: "the model is ready" in log.read_text(), "the new model", node)
        assert node.storescu(*(file for files in halves for file in files[2:])) == 10
        node.wait_for("delivered", exams=6)

        old_worker.send_signal(signal.SIGTERM)
        assert old_worker.wait(30) == 0
        last = exam(tmp_path, "after the update")
        assert node.storescu(*last) == 4
        exams = node.wait_for("delivered", exams=7)

        assert [each["revision"] for each in exams] == [1] * 7
        models = [models_of(node, each["id"]) for each in exams]
        assert all(len(each) == 1 for each in models)
        assert (models[0], models[-1]) == ({OLD}, {NEW})
        # Read twice at most: by the one, and by the other that has reported.
        assert max(analyses(node).values()) <= 2
        made = [r["sop_instance_uid"] for e in exams for r in node.detail(e["id"])["results"]]
        held = [each["MainDicomTags"] for each in archive.get("/instances?expand")]
        assert sorted(made) == sorted(tags["SOPInstanceUID"] for tags in held)
