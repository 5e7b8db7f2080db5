"""A real exam in over the network, its results in a real archive: the node as its users meet it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from io import BytesIO

import pytest
from pydicom import dcmread

from cadnode.core.uids import derive_uid
from cadnode.dicom.sr_reader import read_report
from tests.node.running import Target, run_cadnode, running_node, wait_until, write_all
from tests.objects import (
    add_cluster,
    breast_phantom,
    four_views,
    mammogram,
    secondary_capture,
    tomosynthesis,
)
from tests.peers import free_port, orthanc, require

pytestmark = [pytest.mark.node, pytest.mark.peers]

MARKED_NAME = "Zqxjk^Marked"


def exam_with_one_cluster(study_uid: str, **options):
    """Four small views at 0.1 mm, a cluster in RCC."""
    pictures = {}
    for seed, name in enumerate(("RCC", "LCC", "RMLO", "LMLO")):
        picture = breast_phantom(900, 700, 0.1, seed, name[0]) * 0.7
        if name == "RCC":
            add_cluster(picture, (450.0, 450.0), 0.1, n=12, spread_mm=5, contrast=0.3)
        pictures[name] = picture
    return four_views(study_uid=study_uid, pictures=pictures, spacing_mm=0.1, **options)


def findscu(port: int, study_uid: str) -> list[str]:
    """SOP Instance UIDs of the SR objects that an archive says it holds of a study."""
    series = run_findscu(port, "SERIES", study_uid, ("Modality=SR", "SeriesInstanceUID"))
    found = []
    for uid in series["SeriesInstanceUID"]:
        keys = (f"SeriesInstanceUID={uid}", "SOPInstanceUID")
        found += run_findscu(port, "IMAGE", study_uid, keys)["SOPInstanceUID"]
    return found


def run_findscu(port: int, level: str, study_uid: str, keys: tuple[str, ...]):
    arguments = [f"QueryRetrieveLevel={level}", f"StudyInstanceUID={study_uid}", *keys]
    done = subprocess.run(
        [require("findscu", "dcmtk"), "-S", "-aec", "ORTHANC", "127.0.0.1", str(port)]
        + [part for argument in arguments for part in ("-k", argument)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    text = done.stdout + done.stderr
    _, _, answers = text.partition("Find Response: 1")
    return {
        keyword: re.findall(rf"UI \[([0-9.]+)[^]]*\].*{keyword}", answers)
        for keyword in ("SeriesInstanceUID", "SOPInstanceUID")
    }


def test_an_exam_goes_in_and_its_results_are_in_orthanc(tmp_path):
    study_uid = derive_uid("end to end")
    images = write_all(
        exam_with_one_cluster(study_uid, patient_name=MARKED_NAME), tmp_path / "images"
    )
    with (
        orthanc(tmp_path) as archive,
        running_node(tmp_path / "node", [Target("pacs", "ORTHANC", archive.port)]) as node,
    ):
        assert node.storescu(*images) == 4
        (exam,) = node.wait_for("delivered")
        assert exam["findings"] >= 1
        (listed,) = json.loads(node.run("jobs", "list", "--json"))
        assert listed["status"] == "delivered"

        detail = node.detail(exam["id"])
        made = sorted(result["sop_instance_uid"] for result in detail["results"])
        assert sorted(findscu(archive.port, study_uid)) == made
        assert {r["kind"] for r in detail["results"]} == {"mammography-cad-sr", "tid1500-sr"}

        for result in detail["results"]:
            (found,) = archive.post("/tools/lookup", result["sop_instance_uid"].encode())
            content = archive.get_bytes(f"/instances/{found['ID']}/file")
            stored = node.folder / "data" / result["path"]
            assert dcmread(BytesIO(content)) == dcmread(stored)
            if result["kind"] == "mammography-cad-sr":
                report = read_report(dcmread(stored))
                kept = [f for image in detail["images"] for f in image["findings"]]
                assert len(report.findings) == len(kept)

        sentences = node.run("explain", study_uid)
        for word in ("received", "closed", "delivered"):
            assert word in sentences
        assert "accepts mammography-cad-sr, tid1500-sr" in node.run("check")
        logs = node.log + sentences + node.run("jobs", "show", str(exam["id"]))

    assert "Zqxjk" not in logs
    assert "TEST-0001" not in logs


def test_an_exam_of_bad_images_loses_nothing_and_says_why(tmp_path):
    study = derive_uid("bad images")
    good = mammogram(breast_phantom(700, 600, 0.1), spacing_mm=0.1, study_uid=study)
    truncated = mammogram(study_uid=study, laterality="L", sop_uid=derive_uid("truncated"))
    truncated.PixelData = truncated.PixelData[: len(truncated.PixelData) // 2]
    no_view = mammogram(study_uid=study, view=None, sop_uid=derive_uid("no view"))
    lateral = mammogram(study_uid=study, view="ML", sop_uid=derive_uid("lateral"))
    magnified = mammogram(
        study_uid=study, modifiers=["magnification"], sop_uid=derive_uid("magnified")
    )
    implant = mammogram(study_uid=study, implant=True, sop_uid=derive_uid("implant"))
    expected = {
        good.SOPInstanceUID: None,
        truncated.SOPInstanceUID: "N202",
        no_view.SOPInstanceUID: "N108",
        lateral.SOPInstanceUID: "N107",
        magnified.SOPInstanceUID: "N104",
        implant.SOPInstanceUID: "N105",
    }
    datasets = [good, truncated, no_view, lateral, magnified, implant]
    capture, volume = secondary_capture(study_uid=study), tomosynthesis(study_uid=study)
    expected |= {capture.SOPInstanceUID: "N110", volume.SOPInstanceUID: "N102"}
    files = write_all([*datasets, capture, volume], tmp_path / "images")

    with (
        orthanc(tmp_path) as archive,
        running_node(tmp_path / "node", [Target("pacs", "ORTHANC", archive.port)]) as node,
    ):
        assert node.storescu(*files) == len(files)
        (exam,) = node.wait_for("delivered")
        detail = node.detail(exam["id"])
        assert {
            image["sop_instance_uid"]: image["reason_code"] for image in detail["images"]
        } == expected
        for uid, code in expected.items():
            if code:
                assert code in node.run("explain", uid)

        # The same bytes once more are fine, and nothing new happens.
        assert node.storescu(files[0]) == 1
        assert len(node.exams()) == 1
        # Other bytes under the same UID make a new revision, and that is said.
        good.ImageComments = "other bytes"
        assert node.storescu(*write_all([good], tmp_path / "changed")) == 1
        assert "E202" in node.run("explain", good.SOPInstanceUID)
        newer = node.wait_for("delivered", exams=2)[-1]
        assert (newer["study_instance_uid"], newer["revision"]) == (study, 2)
        # A stranger is rejected.
        assert node.storescu(files[0], calling="STRANGER") == 0
        assert "not known here" in node.run("explain", "1.2.3.4", status=1)


def test_an_archive_that_is_down_delays_only_its_own_delivery(tmp_path):
    images = write_all(exam_with_one_cluster(derive_uid("down")), tmp_path / "images")
    port, http_port = free_port(), free_port()
    with orthanc(tmp_path) as alive:
        targets = [Target("dead", "LATER", port), Target("alive", "ORTHANC", alive.port)]
        with running_node(tmp_path / "node", targets) as node:
            node.storescu(*images)

            def delivered(name: str) -> bool:
                deliveries = node.detail(1)["deliveries"] if node.exams() else []
                mine = [d["status"] for d in deliveries if d["destination"] == name]
                return bool(mine) and set(mine) == {"delivered"}

            wait_until(lambda: delivered("alive"), "the living archive has its results", node)
            assert node.exams()[0]["status"] == "reported"
            assert "dead" in node.run("jobs", "show", "1")
            with orthanc(tmp_path / "later", ae_title="LATER", port=port, http_port=http_port):
                node.wait_for("delivered")
                assert delivered("dead")


def test_a_node_told_to_stop_hands_its_work_back_and_goes_on_after_the_restart(tmp_path):
    images = write_all(exam_with_one_cluster(derive_uid("stop")), tmp_path / "images")
    with orthanc(tmp_path) as archive:
        targets = [Target("pacs", "ORTHANC", archive.port)]
        with running_node(tmp_path / "node", targets) as node:
            assert node.storescu(*images) == 4
            started = time.monotonic()
            node.process.send_signal(signal.SIGTERM)
            assert node.process.wait(20) == 0
            assert time.monotonic() - started < 12
            assert "killed, it did not stop in time" not in node.log
        with running_node(tmp_path / "node", targets) as node:
            node.wait_for("delivered")


def test_a_port_in_use_ends_the_node_and_says_so(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = tmp_path / "cadnode.toml"
        config.write_text(f'[node]\nhost = "127.0.0.1"\nport = {other.getsockname()[1]}\n')
        said = run_cadnode("serve", "--config", str(config), status=2)
    assert "E101 cannot listen on 127.0.0.1" in said
    assert "Traceback" not in said


def test_analyze_gives_the_same_findings_without_network_or_database(tmp_path):
    folder = tmp_path / "images"
    write_all(exam_with_one_cluster(derive_uid("offline")), folder)
    (folder / "notes.txt").write_text("not DICOM")
    out = tmp_path / "out"
    run_cadnode("analyze", str(folder), "--out", str(out))
    found = json.loads((out / "findings.json").read_text())
    by_view = {f"{i['laterality']}{i['view']}": i for i in found["images"] if i["view"]}
    assert by_view["RCC"]["eligibility"] == "analyzed"
    assert [
        finding
        for finding in by_view["RCC"]["findings"]
        if abs(finding["center"][0] - 450) < 30 and abs(finding["center"][1] - 450) < 30
    ]
    kinds = {result["kind"] for result in found["results"]}
    assert kinds == {"mammography-cad-sr", "tid1500-sr"}
    for image in by_view.values():
        assert (out / image["picture"]).stat().st_size > 10_000


def test_analyze_says_in_its_exit_status_what_happened(tmp_path):
    run_cadnode("analyze", str(tmp_path / "missing"), "--out", str(tmp_path / "o"), status=2)
    bad = mammogram()
    bad.PixelData = bad.PixelData[:100]
    (path,) = write_all([bad], tmp_path / "bad")
    said = run_cadnode("analyze", str(path), "--out", str(tmp_path / "o"), status=3)
    assert "N202" in said
    (path,) = write_all([secondary_capture()], tmp_path / "set aside")
    run_cadnode("analyze", str(path), "--out", str(tmp_path / "o"))
    run_cadnode("analyze", str(path), "--out", "/proc/nowhere", status=2)
