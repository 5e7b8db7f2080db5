"""A node whose modality cannot send to it: exams come from the archive, results go back there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from cadnode.dimse.scu import Destination
from tests.integration.archives import fill
from tests.node.running import Target, running_node, wait_until
from tests.objects import breast_phantom, four_views
from tests.peers import free_port, orthanc

pytestmark = [pytest.mark.node, pytest.mark.peers]


def test_an_exam_is_pulled_from_the_archive_and_its_results_go_back_there(tmp_path: Path) -> None:
    study, our_port = generate_uid(None), free_port()
    names = ("RCC", "LCC", "RMLO", "LMLO")
    pictures = {name: breast_phantom(500, 400, 0.1, 1, name[0]) for name in names}
    exam = four_views(study_uid=study, pictures=pictures, spacing_mm=0.1)
    settings = {"DicomAlwaysAllowMove": True}
    known = {"cadnode": ["CADNODE", "127.0.0.1", our_port]}
    with orthanc(tmp_path / "archive", modalities=known, settings=settings) as archive:
        there = Destination("archive", archive.ae_title, "127.0.0.1", archive.port)
        fill(there, exam, tmp_path / "files")
        extra = (
            '[[sources]]\nname = "archive"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
            f'port = {archive.port}\nretrieve = "move"\n'
            '[[pull]]\nsource = "archive"\nevery_minutes = 0.05\ndays = 3660\n'
        )
        target = Target("pacs", archive.ae_title, archive.port)
        with running_node(tmp_path / "node", [target], port=our_port, extra=extra) as node:
            (delivered,) = node.wait_for("delivered", "committed")
            turns = node.log.count('"event": "pulled"')
            wait_until(lambda: node.log.count('"event": "pulled"') > turns + 1, "a turn", node)
            detail = node.detail(delivered["id"])

        assert len(detail["images"]) == 4
        assert "4 images were fetched from archive." in [e["text"] for e in detail["events"]]
        assert len(archive.get("/instances")) == 4 + len(detail["results"]) > 4
        assert [e["study_instance_uid"] for e in node.exams()] == [study]
