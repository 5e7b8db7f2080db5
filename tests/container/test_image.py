"""The steps of the image in a bare Debian; then the pair of compose.yaml as its containers run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.container.debian import make_root, own_mounts, run_in
from tests.node.running import write_all
from tests.objects import four_views
from tests.peers import absent, require

pytestmark = [pytest.mark.container, pytest.mark.timeout(3600)]
REPOSITORY = Path(__file__).resolve().parents[2]
MAMMOGRAPHY_CAD_SR = "1.2.840.10008.5.1.4.1.1.88.50"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a container, as docker/Dockerfile makes it."""
    if os.geteuid() != 0:
        absent("a root folder of its own needs root")
    root = tmp_path_factory.mktemp("image") / "root"
    make_root(require("debootstrap", "debootstrap"), root)
    source = root / "src"
    for name in ("pyproject.toml", "README.md"):
        source.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, source)
    for name in ("constraints", "docker", "models", "cadnode"):
        shutil.copytree(REPOSITORY / name, source / name)
    run_in(root, "/src", "docker/install.sh", "build", "cpu")
    run_in(root, "/src", "docker/install.sh", "run")
    shutil.rmtree(source)
    return root


def test_the_pair_works_with_a_root_that_cannot_be_written_to(image, tmp_path):
    images = write_all(four_views(), tmp_path / "images")
    require("Orthanc", "orthanc")
    require("storescu", "dcmtk")
    pod = [sys.executable, "-m", "tests.container.pod", str(image), str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--net", *own_mounts(image), *pod, *map(str, images)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["healthy"], said["log"]
    assert said["console"] == 200
    assert said["stored"] == 0, said["log"]
    assert MAMMOGRAPHY_CAD_SR in said["sop_classes"], said["log"]
    assert [job["images_analyzed"] for job in said["jobs"]] == [4]
    assert not said["root_is_writable"]
    assert said["user"] == "10001"
    assert int(said["capabilities"], 16) == 0
    assert (said["exit"], said["stopped_in"] < 15) == (0, True), said["log"]


def test_the_image_has_no_tools_to_build_or_test_with(image):
    packages = {path.name for path in (image / "opt/cadnode/lib").glob("python*/site-packages/*")}
    assert "cadnode" in packages
    assert not packages & {"pytest", "mypy", "pip", "hypothesis", "playwright"}
    assert not (image / "opt/build").exists()
