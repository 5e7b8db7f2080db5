"""What the audit trail is told of those who look at an exam."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cadnode.app import utc_now
from cadnode.core.audit import AuditEvent, InstancesAccessed
from cadnode.core.errors import DatabaseUnavailable
from cadnode.storage.reading import ExamRecords
from tests.analyzed import analyze, receive
from tests.integration.viewer.exam import STUDY, images
from tests.objects import four_views


@dataclass
class Heard:
    """An audit trail that remembers."""

    events: list[AuditEvent] = field(default_factory=list)

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def close(self, seconds: float = 3.0) -> None:
        """Nothing."""


class TestAccess:
    def test_who_looks_at_an_exam_is_told_to_the_audit_trail_once_in_a_while(
        self, fresh, monkeypatch
    ):
        now = [utc_now()]
        monkeypatch.setattr("cadnode.console.viewer.utc_now", lambda: now[0])
        receive(fresh, four_views(study_uid=STUDY))
        analyze(fresh)
        fresh.app.audit = heard = Heard()
        fresh.browser.get("/exams/1/status")
        fresh.browser.get("/api/v1/exams/1/events")
        assert heard.events == []
        fresh.browser.get("/api/v1/exams/1/images/1/tiles_files/5/0_0.png")
        fresh.browser.get("/api/v1/exams/1/images/2/tiles_files/5/0_0.png")
        fresh.browser.get("/exams/1")
        (event,) = heard.events
        assert isinstance(event, InstancesAccessed)
        assert (event.user, event.host) == ("localhost", "127.0.0.1")
        assert len(event.instances) == 4 + len(fresh.store.records.exam_detail(1).results)
        assert {item.study_instance_uid for item in event.instances} == {STUDY}
        assert all(item.path.is_file() for item in event.instances)
        now[0] += timedelta(minutes=10)
        fresh.browser.get("/exams/1")
        assert len(heard.events) == 2

    def test_and_not_forgotten_because_the_database_was_away_at_first(self, fresh, monkeypatch):
        receive(fresh, four_views(study_uid=STUDY))
        fresh.app.audit = heard = Heard()
        detail, away = ExamRecords.exam_detail, [True]

        def now_and_then(records: ExamRecords, exam_id: int) -> Any:
            if away.pop():
                raise DatabaseUnavailable("it is away")
            return detail(records, exam_id)

        monkeypatch.setattr(ExamRecords, "exam_detail", now_and_then)
        path = "/api/v1/exams/1/images/1/tiles"
        assert fresh.browser.get(path).status_code == 503
        away += [False] * 10
        assert fresh.browser.get(path).status_code == 200
        assert len(heard.events) == 1

    def test_nobody_sees_pixels_without_signing_in(self, node):
        image = images(node)["RCC"]
        client = type(node.browser)(
            node.browser.app, base_url="http://127.0.0.1", client=("192.0.2.1", 50000)
        )
        for path in (
            f"images/{image['id']}/tiles_files/8/0_0.jpg",
            f"images/{image['id']}/picture.png",
            "images",
            "archive.zip",
            "results/1/file",
        ):
            answer = client.get(f"/api/v1/exams/1/{path}", follow_redirects=False)
            assert answer.status_code in (401, 403), path
        assert client.get("/exams/1", follow_redirects=False).status_code in (303, 302, 401, 403)
