"""SIGKILL at ten moments of the path: nothing acknowledged is lost, nothing is reported twice."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cadnode.core.uids import derive_uid
from cadnode.dimse.find import find_instances
from cadnode.dimse.scu import Destination
from tests.integration.fake_pacs import Behaviour, FakePacs, OnObject
from tests.node.running import Node, Target, running_node, wait_until, write_all
from tests.objects import breast_phantom, four_views
from tests.peers import orthanc, require

pytestmark = [pytest.mark.node, pytest.mark.peers]


@dataclass(frozen=True)
class Scene:
    """What a moment may look at: the node, the study on its way, and the second archive."""

    node: Node
    study_uid: str
    second: FakePacs
    begun_before: int

    def count(self, condition: str) -> int:
        """Images of the study for which `condition` holds, straight from the database."""
        return self._ask(
            f"select count(*) from images join jobs on jobs.id = job_id where {condition}"
        )

    def exam(self, condition: str) -> bool:
        return bool(self._ask(f"select count(*) from jobs where {condition}"))

    def delivered(self) -> bool:
        return bool(
            self._ask(
                "select count(*) from deliveries join results on results.id = result_id"
                " join jobs on jobs.id = results.job_id where deliveries.status = 'delivered'"
            )
        )

    def _ask(self, statement: str) -> int:
        database = self.node.folder / "data" / "cadnode.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            answer = connection.execute(
                f"{statement} and jobs.study_instance_uid = ?", (self.study_uid,)
            )
            return int(answer.fetchone()[0])

    def incoming(self) -> bool:
        return any((self.node.folder / "data" / "incoming").iterdir())

    def begun(self) -> int:
        """Objects of this study that the second archive has been sent, answered or not."""
        return self.second.begun - self.begun_before


MOMENTS: list[tuple[str, str, Callable[[Scene], object]]] = [
    ("an image is on its way in", "receive", Scene.incoming),
    ("the first image is kept", "receive", lambda s: s.count("1") >= 1),
    ("three images are kept", "receive", lambda s: s.count("1") >= 3),
    ("the exam is claimed", "work", lambda s: s.exam("lease_owner is not null")),
    ("the first image is being read", "work", lambda s: s.count("images.tries > 0")),
    ("one image is analyzed", "work", lambda s: s.count("images.state = 'analyzed'") >= 1),
    ("three images are analyzed", "work", lambda s: s.count("images.state = 'analyzed'") >= 3),
    ("the exam is closed", "work", lambda s: s.exam("jobs.status in ('analyzed', 'reported')")),
    ("an object is sent, unanswered", "work", lambda s: s.begun() >= 1),
    ("one archive of two has answered", "work", lambda s: s.delivered() and s.begun() >= 1),
]


# Ten restarts of the node; a busy machine takes its time for each.
@pytest.mark.timeout(1500)
def test_sigkill_at_ten_moments_loses_nothing_and_repeats_nothing(tmp_path):
    with (
        orthanc(tmp_path) as archive,
        FakePacs() as second,
        running_node(
            tmp_path / "node",
            [Target("first", "ORTHANC", archive.port), Target("second", "SECOND", second.port)],
            # Long enough for a receiver to come back: an exam closed meanwhile would rightly go on as
            # a second revision.
            quiet_seconds=120.0,
            lease_seconds=2.0,
            extra="\n[delivery]\ndeadline_seconds = 20.0\n",
        ) as node,
    ):
        studies = []
        for number, (name, process, moment) in enumerate(MOMENTS):
            study_uid = derive_uid("crash", name)
            studies.append(study_uid)
            pictures = {
                view: breast_phantom(1400, 1100, 0.1, seed, view[0]) * 0.7
                for seed, view in enumerate(("RCC", "LCC", "RMLO", "LMLO"), start=number)
            }
            files = write_all(
                four_views(study_uid=study_uid, pictures=pictures, spacing_mm=0.1),
                tmp_path / f"images {number}",
            )
            begun = second.begun
            silent = name in ("an object is sent, unanswered", "one archive of two has answered")
            second.behaviour = Behaviour(on_object={begun: OnObject.NO_ANSWER} if silent else {})
            scene = Scene(node, study_uid, second, begun)
            with sending(node, files):
                kill_when(scene, process, name, moment)
            # What a modality does with images that were not acknowledged.
            assert node.storescu(*files) == 4
            second.behaviour = Behaviour()
            node.wait_for("delivered", exams=number + 1)

        exams = node.exams()
        assert [exam["study_instance_uid"] for exam in exams] == studies
        at_second = {item.sop_instance_uid for item in second.received}
        for exam in exams:
            detail = node.detail(exam["id"])
            assert exam["images_analyzed"] == 4
            made = {result["sop_instance_uid"] for result in detail["results"]}
            held = find_instances(
                Destination("first", "ORTHANC", "127.0.0.1", archive.port),
                "CADNODE",
                exam["study_instance_uid"],
            )
            assert {instance.sop_instance_uid for instance in held} == made
            assert made <= at_second
            at_second -= made
        assert not at_second, "the second archive got objects that no exam knows"


@contextmanager
def sending(node: Node, files: list[Path]) -> Iterator[None]:
    """storescu on its way in the background."""
    command = [require("storescu", "dcmtk"), "-aet", "MG1", "-aec", "CADNODE", "-R"]
    process = subprocess.Popen(
        [*command, "127.0.0.1", str(node.port), *map(str, files)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.wait(60)


def kill_when(scene: Scene, process: str, name: str, moment: Callable[[Scene], object]) -> None:
    """SIGKILL the process as soon as the moment has come."""
    deadline = time.monotonic() + 120
    while not moment(scene):
        assert time.monotonic() < deadline, f"never: {name}\n{scene.node.log[-4000:]}"
    scene.node.kill(process)
    if process == "receive":
        wait_until(lambda: accepts(scene.node.port), "the receiver listens again", scene.node)


def accepts(port: int) -> bool:
    """C-ECHO is answered."""
    echo = [require("echoscu", "dcmtk"), "-aet", "MG1", "-aec", "CADNODE", "127.0.0.1", str(port)]
    return subprocess.run(echo, capture_output=True, timeout=30, check=False).returncode == 0
