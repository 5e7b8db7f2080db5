"""The demo's page shows what happened, and needs nothing but itself."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from cadnode.core.findings import Finding
from cadnode.core.mammogram import PixelSpacing
from cadnode.demo.attribution import CITATIONS
from cadnode.demo.collecting import limits_of
from cadnode.demo.report import (
    ArchiveAnswer,
    DemoResult,
    ExamEvent,
    ExamResult,
    ExamView,
    ModelFacts,
    ResultObject,
    hung,
    report_html,
)
from cadnode.pictures import draw_close_ups, draw_view

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPACING = PixelSpacing(0.1, 0.1)


def finding(score: float, operating_point: int) -> Finding:
    outline = ((20.0, 30.0), (60.0, 30.0), (60.0, 80.0), (20.0, 30.0))
    return Finding(score, (45.0, 45.0), outline, 10.0, operating_point)


def view(name: str, *findings: Finding, reason: str = "") -> ExamView:
    pixels = np.full((120, 80), 0.5, np.float32)
    return ExamView(
        view_name=name,
        sop_instance_uid="2.25.1",
        state="failed" if reason else "analyzed",
        reason=reason,
        findings=findings,
        spacing=SPACING,
        rows=120,
        columns=80,
        picture=draw_view(
            pixels, findings, spacing=SPACING, view_name=name, recommended=1, height=120
        ),
        close_ups=tuple(
            draw_close_ups(pixels, findings, spacing=SPACING, recommended=1, size=60, limit=1)
        ),
    )


@pytest.fixture
def result() -> DemoResult:
    answer = ArchiveAnswer("archive", "delivered", 0, found=True)
    exam = ExamResult(
        label="Exam 1",
        truth="a benign mass",
        patient_id="P_1",
        study_instance_uid="2.25.2",
        status="delivered",
        received_at=START,
        delivered_at=START + timedelta(seconds=12.5),
        views=(
            view("LMLO", finding(0.9, 0), finding(0.4, 2)),
            view("RCC"),
            view("LCC", reason="the pixel data cannot be decoded"),
            view("RMLO"),
        ),
        objects=(
            ResultObject(
                "mammography-cad-sr", "2.25.3", "exam-1/x.dcm", 1, ("CONTAINER A",), (answer,)
            ),
            ResultObject("tid1500-sr", "2.25.4", "exam-1/y.dcm", 1, ("CONTAINER B",), (answer,)),
        ),
        events=(
            ExamEvent(START, "Image <script>alert(1)</script> came."),
            ExamEvent(START + timedelta(seconds=12.5), "Delivered."),
        ),
    )
    return DemoResult(
        created_at=START,
        node_version="0.1.0",
        archive="Orthanc 1.10.1",
        archive_ae_title="ORTHANC",
        model=ModelFacts("calc-resnet50", "9.9", (0.8, 0.6, 0.3), 1, ("It reads no masses.",)),
        timings=(("Rebuild the exams", 1.25),),
        exams=(exam,),
    )


def text_of(html: str) -> str:
    body = html[html.index("<body>") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_nothing_is_loaded_from_outside(result: DemoResult) -> None:
    html = report_html(result)
    assert "<script" not in html
    assert "<link" not in html
    assert "@import" not in html
    assert "url(" not in html
    targets = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert targets
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in targets)


def test_what_the_node_says_is_never_taken_as_markup(result: DemoResult) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report_html(result)


def test_every_view_is_shown_in_hanging_order_with_its_marks_apart(result: DemoResult) -> None:
    html = report_html(result)
    assert re.findall(r'alt="(\w+), without marks"', html) == ["RCC", "LCC", "RMLO", "LMLO"]
    assert [shown.view_name for shown in hung(result.exams[0].views)][:2] == ["RCC", "LCC"]
    sources = re.findall(r'<img(?: class="[^"]*")? src="data:image/png;base64,([^"]+)"', html)
    pictures = [Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]
    # Three layers for each view, and two pictures for the one close-up.
    assert [picture.mode for picture in pictures[:3]] == ["L", "RGBA", "RGBA"]
    assert len(pictures) == 4 * 3 + 2


def test_marks_are_counted_by_whether_they_are_shown(result: DemoResult) -> None:
    exam = result.exams[0]
    assert (exam.findings, exam.shown(1), exam.shown(2)) == (2, 1, 2)
    text = text_of(report_html(result))
    assert "1 optional mark," in text
    assert "90 %" in text
    assert "40 %" in text


def test_the_page_says_what_it_is_and_where_the_images_come_from(result: DemoResult) -> None:
    text = text_of(report_html(result))
    for said in (
        "Not a medical device",
        "a benign mass",
        "It reads no masses.",
        "CC BY 3.0",
        "Orthanc 1.10.1",
        "calc-resnet50 9.9",
        "12.5 s",
        "the pixel data cannot be decoded",
        "CONTAINER A",
    ):
        assert said in text
    for citation in CITATIONS:
        assert citation.split(".")[0] in text


def test_an_object_that_the_archive_did_not_name_is_called_missing(result: DemoResult) -> None:
    exam = result.exams[0]
    assert exam.delivered
    lost = replace(
        exam.objects[1], answers=(ArchiveAnswer("archive", "delivered", 0, found=False),)
    )
    exam = replace(exam, objects=(exam.objects[0], lost))
    assert not exam.delivered
    text = text_of(report_html(replace(result, exams=(exam,))))
    assert "not found" in text
    assert "not all there" in text


def test_an_exam_without_objects_is_not_called_delivered(result: DemoResult) -> None:
    assert not replace(result.exams[0], objects=()).delivered
    undelivered = replace(result.exams[0].objects[0], answers=())
    assert not replace(result.exams[0], objects=(undelivered,)).delivered


def test_an_exam_without_findings_says_that_this_is_an_answer(result: DemoResult) -> None:
    exam = replace(result.exams[0], views=(view("RCC"), view("LCC")))
    text = text_of(report_html(replace(result, exams=(exam,))))
    assert "No calcifications were found in any of the 2 views" in text
    assert "Close-ups" not in text


def test_the_limits_are_taken_from_the_model_card() -> None:
    card = (
        "# calc 1\n\nSomething.\n\n## Limits\n\nIt was trained on\nsimulation.\n\n"
        "- No **masses**.\n- No digital detector\n  was seen.\n\n## Sources\n\n- Films.\n"
    )
    assert limits_of(card) == (
        "It was trained on simulation.",
        "No masses.",
        "No digital detector was seen.",
    )
    assert limits_of("# calc 1\n\nProvisional.\n") == ()
