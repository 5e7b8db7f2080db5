"""One exam with every kind of result object, from a modality to a real archive and its viewers."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage, SecondaryCaptureImageStorage

from cadnode.core.uids import derive_uid
from cadnode.result_parts import RESULT_CLASSES
from tests.integration.dicomscope import State, draw
from tests.node.running import Target, running_node, write_all
from tests.node.test_end_to_end import exam_with_one_cluster
from tests.peers import free_port, orthanc

pytestmark = [pytest.mark.node, pytest.mark.peers]

SETTINGS = "[delivery]\ncommitment_delay_seconds = 0.2\ncommitment_report_seconds = 600.0\n"
CLUSTER = (450.0, 450.0)


def test_every_kind_of_object_is_committed_and_shown_by_the_archive(tmp_path):
    study_uid = derive_uid("every kind")
    images = exam_with_one_cluster(study_uid)
    files = write_all(images, tmp_path / "images")
    port = free_port()
    with (
        orthanc(tmp_path, modalities={"cadnode": ["CADNODE", "127.0.0.1", port]}) as archive,
        running_node(
            tmp_path / "node",
            [Target("pacs", "ORTHANC", archive.port, tuple(RESULT_CLASSES), "require")],
            extra=SETTINGS
            + f'[[peers]]\nname = "pacs"\nae_title = "ORTHANC"\nport = {archive.port}\n',
            port=port,
        ) as node,
    ):
        assert node.storescu(*files) == 4
        (exam,) = node.wait_for("committed")
        results = node.detail(exam["id"])["results"]
        kinds = [result["kind"] for result in results]
        assert sorted(set(kinds)) == sorted(RESULT_CLASSES)
        assert kinds.count("gsps") == kinds.count("secondary-capture") == 4
        assert "11 deliveries, 15 files, 1 destination: no errors" in node.run("fsck", "--archive")

        held = {}
        for result in results:
            (found,) = archive.post("/tools/lookup", result["sop_instance_uid"].encode())
            file = BytesIO(archive.get_bytes(f"/instances/{found['ID']}/file"))
            held[result["sop_instance_uid"]] = (found["ID"], dcmread(file))
        objects = [dataset for _, dataset in held.values()]
        assert {dataset.StudyInstanceUID for dataset in objects} == {study_uid}

        # The picture of RCC, as the archive shows it, has an orange outline around the cluster.
        capture, _ = next(
            entry
            for entry in held.values()
            if entry[1].SOPClassUID == SecondaryCaptureImageStorage and entry[1].InstanceNumber == 1
        )
        shown = Image.open(BytesIO(archive.get_bytes(f"/instances/{capture}/preview")))
        red, green, blue = np.moveaxis(np.asarray(shown, int), -1, 0)
        orange = (red > 200) & (green > 120) & (green < 210) & (blue < 110)
        _surrounds(orange, CLUSTER)

        # So has the image itself, where a viewer applies the presentation state.
        state = next(
            dataset
            for dataset in objects
            if dataset.SOPClassUID == GrayscaleSoftcopyPresentationStateStorage
            and dataset.InstanceNumber == 1
        )
        (series,) = state.ReferencedSeriesSequence
        (reference,) = series.ReferencedImageSequence
        assert reference.ReferencedSOPInstanceUID == images[0].SOPInstanceUID
        path = tmp_path / "state.dcm"
        state.save_as(path)
        (drawn,) = draw([State(path, files[0], images[0].Rows, images[0].Columns)], tmp_path)
        _surrounds(drawn["CAD_MARKS"] > 0, CLUSTER)

        # What comes back from the archive is not analyzed.
        pictures = [one for one in objects if one.SOPClassUID == SecondaryCaptureImageStorage]
        assert node.storescu(*write_all(pictures, tmp_path / "back")) == 4
        first, *others = node.wait_for("committed", "skipped", exams=2)
        assert first["status"] == "committed"
        assert {one["status"] for one in others} == {"skipped"}


def _surrounds(marked, point) -> None:
    column, row = (round(value) for value in point)
    assert marked[row, :column].any()
    assert marked[row, column:].any()
    assert marked[:row, column].any()
    assert marked[row:, column].any()
