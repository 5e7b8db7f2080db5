"""Which view hangs where, and how the history of an exam reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.exam import ExamImage, ImageState
from cadnode.core.jobs import ExamStatus
from cadnode.core.mammogram import Intent
from cadnode.core.records import EventRecord, ExamDetail, ExamSummary, StudyImage
from cadnode.web.viewer.hanging import PLACES, hang
from cadnode.web.viewer.ports import TileSource, ViewedImage
from cadnode.web.viewer.timeline import happenings, stages

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def image(
    number: int,
    view_name: str,
    state: ImageState = ImageState.ANALYZED,
    intent: Intent | None = Intent.PRESENTATION,
    *,
    picture: bool = True,
) -> ViewedImage:
    known = ExamImage(
        id=number,
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.2",
        series_instance_uid="1.3",
        transfer_syntax_uid="1.4",
        path="images/a",
        size=1,
        sha256="a",
        revision=1,
        received_at=T0,
        calling_ae="MODALITY",
        state=state,
        intent=intent,
    )
    return ViewedImage(
        record=StudyImage(exam_id=1, image=known, purged=False),
        view_name=view_name,
        tiles=TileSource(10, 20, 512, 1, 5) if picture else None,
        spacing=None,
        mirrored=False,
        no_picture=None if picture else "no pixel data",
        operating_points=None,
        has_patch_map=False,
    )


def test_the_right_breast_hangs_on_the_left_whatever_came_first():
    came = [image(n, view) for n, view in enumerate(("LMLO", "RMLO", "LCC", "RCC"), start=1)]
    hung = hang(came)
    assert [(place, one and one.id) for place, one in hung.places] == [
        ("RCC", 4),
        ("LCC", 3),
        ("RMLO", 2),
        ("LMLO", 1),
    ]
    assert hung.further == ()
    assert not hung.empty


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (image(1, "RCC"), image(2, "RCC", ImageState.FAILED)),
        (image(2, "RCC"), image(1, "RCC")),
        (image(1, "RCC"), image(2, "RCC", ImageState.SET_ASIDE, Intent.PROCESSING)),
        (
            image(1, "RCC", ImageState.RECEIVED),
            image(2, "RCC", ImageState.RECEIVED, Intent.PROCESSING),
        ),
        (image(1, "RCC", ImageState.FAILED), image(2, "RCC", ImageState.FAILED, picture=False)),
    ],
)
def test_of_two_images_of_a_view_the_one_that_was_read_hangs(first, second):
    for came in ([first, second], [second, first]):
        hung = hang(came)
        assert dict(hung.places)["RCC"] is first
        assert hung.further == (second,)


@given(st.lists(st.sampled_from([*PLACES, "RML", "??", "RXCCL"]), max_size=9))
def test_every_image_is_shown_once(views: list[str]):
    came = [image(number, view) for number, view in enumerate(views, start=1)]
    hung = hang(came)
    shown = [one.id for _, one in hung.places if one] + [one.id for one in hung.further]
    assert sorted(shown) == [one.id for one in came]
    assert hung.empty == (not set(views) & set(PLACES))


def event(kind: str, seconds: float, text: str = "", actor: str = "receiver") -> EventRecord:
    return EventRecord(1, T0 + timedelta(seconds=seconds), kind, None, text, actor, None)


def detail(*events: EventRecord) -> ExamDetail:
    summary = ExamSummary(
        id=1,
        study_instance_uid="1.2",
        revision=1,
        status=ExamStatus.DELIVERED,
        created_at=T0,
        last_image_at=T0 + timedelta(seconds=60),
        age_seconds=0,
        images=4,
        images_waiting=0,
        images_analyzed=4,
        images_set_aside=0,
        images_failed=0,
        findings=0,
        deliveries_pending=0,
        deliveries_failed=0,
        proofs_pending=0,
        error_code=None,
        error_text=None,
        waits_for="",
    )
    return ExamDetail(
        exam=summary,
        calling_ae="MODALITY",
        due_at=T0,
        lease_owner=None,
        lease_until=None,
        tries=0,
        analyzed_at=T0 + timedelta(seconds=70),
        finished_at=None,
        failed_from=None,
        superseded_by=None,
        priority=0,
        images=(),
        results=(),
        deliveries=(),
        events=events,
    )


def test_stages_say_how_long_each_one_took():
    happened = [event("reported", 72), event("delivered", 75), event("delivered", 80)]
    assert [(s.name, s.took and s.took.total_seconds()) for s in stages(detail(*happened))] == [
        ("First image", None),
        ("Last image", 60),
        ("All images looked at", 10),
        ("Results written", 2),
        ("Delivered", 8),
    ]


def test_a_stage_that_was_before_the_one_before_it_took_no_time_that_can_be_told():
    again = replace(detail(), exam=replace(detail().exam, created_at=T0 + timedelta(days=1)))
    assert [s.took for s in stages(again)[:2]] == [None, None]


def test_events_are_sentences_with_names_in_the_place_of_uids():
    happened = [
        event("image-received", 0, "Image 1.2.3 was received from MODALITY and kept."),
        event("image-analyzed", 5, "Image 1.2.34 was analyzed", "node:12:0badcafe"),
        event("analyzed", 6, "closed: all expected views are there", "jane"),
    ]
    told = happenings(happened, {"1.2.3": "RCC", "1.2.34": "LCC"})
    assert [one.sentence for one in told] == [
        "Image RCC was received from MODALITY and kept.",
        "Image LCC was analyzed.",
        "Closed: all expected views are there.",
    ]
    assert [one.after for one in told] == [None, timedelta(seconds=5), timedelta(seconds=1)]
    assert [one.who for one in told] == ["receiver", "process 12 on node", "jane"]
