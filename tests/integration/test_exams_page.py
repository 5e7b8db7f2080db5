"""The page of exams and its API, on a real job database."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cadnode.core.accounts import Role
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import ExamStatus
from cadnode.web.exams.table import COLUMNS
from tests.console import ConsoleUnderTest, console_under_test
from tests.contract.exams import (
    DONE,
    GONE,
    LEASE,
    SECOND,
    T0,
    new_image,
    report,
    sent,
    take,
)

DESTINATIONS = """
[[destinations]]
name = "A"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
[[destinations]]
name = "B"
ae_title = "SECOND"
host = "127.0.0.1"
port = 104
"""


@contextmanager
def five_exams(folder: Path) -> Iterator[ConsoleUnderTest]:
    """Delivered, failed at its destination, reported, and two being received."""
    with console_under_test(folder, DESTINATIONS) as node:
        for number in range(1, 6):
            known = ExamIdentifiers(f"P-10{number}", f"A-{number // 2}", date(2026, 3, number))
            image = new_image(1, f"1.2.{number}", identifiers=known)
            now = T0 + number * SECOND
            node.store.exams.accept(image, now=now)
            if number < 4:
                report(node.store.exams, "A", now=now)
            if number < 3:
                delivery = take(node.store.exams, now=now)
                ended = DONE if number == 1 else GONE
                node.store.exams.record_delivery(delivery, sent(delivery), ended, now=now)
        yield node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    """A node whose exams a test may change."""
    with five_exams(tmp_path) as node:
        yield node


def listed(text: str) -> list[int]:
    """The exams in the table of a page."""
    return [int(number) for number in re.findall(r'<th scope="row"><a href="/exams/(\d+)"', text)]


def said(text: str) -> str:
    found = re.search(r'<p id="summary">(.*?)</p>', text, re.DOTALL)
    assert found is not None
    return " ".join(unescape(re.sub(r"<[^>]+>", "", found[1])).split())


def status_of(node: ConsoleUnderTest, exam_id: int) -> ExamStatus:
    return node.store.records.exam_detail(exam_id).exam.status


def last_event(node: ConsoleUnderTest, exam_id: int) -> tuple[str, str]:
    event = node.store.records.exam_detail(exam_id).events[-1]
    return event.kind, event.actor


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleUnderTest]:
    """A node for all who only look."""
    with five_exams(tmp_path_factory.mktemp("exams")) as node:
        yield node


class TestSearch:
    def test_every_exam_is_there_the_newest_first(self, seen: ConsoleUnderTest):
        page = seen.browser.get("/exams")
        assert page.status_code == 200
        assert listed(page.text) == [5, 4, 3, 2, 1]
        assert said(page.text) == "5 exams"
        assert "P-101" in page.text
        assert page.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        ("typed", "found", "meaning"),
        [
            ("P-102", [2], "understood as Patient ID"),
            ("p-10", [5, 4, 3, 2, 1], "understood as beginning of a Patient ID"),
            ("A-1", [3, 2], "understood as accession number"),
            ("#4", [4], "understood as exam number"),
            ("1.2.3", [3], "understood as UID"),
        ],
    )
    def test_the_one_box_finds_and_says_how_it_understood(
        self, seen: ConsoleUnderTest, typed: str, found: list[int], meaning: str
    ):
        page = seen.browser.post("/exams", data={"q": typed}, headers={"HX-Request": "true"})
        assert listed(page.text) == found
        assert said(page.text).endswith(meaning)

    def test_what_names_a_patient_never_stands_in_an_address(self, seen: ConsoleUnderTest):
        for form in (
            {"q": "P-102"},
            {"patient": "P-102", "status": "failed"},
            {"accession": "A-1"},
        ):
            plain = seen.browser.post("/exams", data=form, follow_redirects=False)
            assert plain.status_code == 200
            scripted = seen.browser.post("/exams", data=form, headers={"HX-Request": "true"})
            pushed = scripted.headers["hx-push-url"]
            assert "P-102" not in pushed
            assert "A-1" not in pushed
            addresses = re.findall(r'(?:href|action|hx-get|hx-post)="([^"]*)"', scripted.text)
            assert not [one for one in addresses if "P-102" in one or "A-1" in one]
        ignored = seen.browser.get("/exams?patient=P-102&accession=A-1&q=P-102")
        assert listed(ignored.text) == [5, 4, 3, 2, 1]

    def test_any_other_search_has_an_address_that_shows_the_same(self, seen: ConsoleUnderTest):
        answer = seen.browser.post(
            "/exams", data={"status": ["failed", "reported"]}, follow_redirects=False
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == "/exams?status=failed&status=reported"
        assert listed(seen.browser.get(answer.headers["location"]).text) == [3, 2]

    @pytest.mark.parametrize(
        ("form", "found"),
        [
            ({"status": "failed"}, [2]),
            ({"sender": "MODALITY"}, [5, 4, 3, 2, 1]),
            ({"sender": "NOBODY"}, []),
            ({"code": "E602"}, [2]),
            ({"exam": "3"}, [3]),
            ({"order": "waiting"}, [2, 3, 4, 5]),
            ({"studied_from": "2026-03-02", "studied_to": "2026-03-03"}, [3, 2]),
            ({"received_from": "2026-03-01", "received_to": "2026-03-01"}, [5, 4, 3, 2, 1]),
            ({"received_to": "2026-02-27"}, []),
            ({"patient": "P-10", "beginning": "yes", "status": "failed"}, [2]),
        ],
    )
    def test_every_field_narrows(
        self, seen: ConsoleUnderTest, form: dict[str, Any], found: list[int]
    ):
        page = seen.browser.post("/exams", data=form, headers={"HX-Request": "true"})
        assert listed(page.text) == found

    @pytest.mark.parametrize(
        ("form", "problem"),
        [
            ({"received_from": "yesterday"}, "a date is written as 2026-01-31"),
            ({"exam": "one"}, "an exam number is a whole number"),
            ({"status": "lost"}, "no such status"),
            ({"order": "random"}, "no such order"),
            ({"patient": "P", "beginning": "yes"}, "at least 3 characters"),
        ],
    )
    def test_a_field_that_cannot_be_understood_is_named(
        self, seen: ConsoleUnderTest, form: dict[str, str], problem: str
    ):
        page = seen.browser.post("/exams", data=form)
        assert page.status_code == 200
        assert problem in page.text

    def test_odd_addresses_and_forms_are_answered_all_the_same(self, seen: ConsoleUnderTest):
        for address in (
            "/exams?cursor=nonsense",
            "/exams?cursor=f20260230T000000000000-1",
            "/exams?status=&status=lost&received_from=2026-99-99",
            f"/exams?uid={'9' * 5000}",
        ):
            assert seen.browser.get(address).status_code == 200, address
        assert seen.browser.post("/exams", files={"q": b"a file"}).status_code == 415

    def test_pages_go_forth_and_back_also_for_a_patient(
        self, seen: ConsoleUnderTest, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(sys.modules["cadnode.web.exams.pages"], "PER_PAGE", 2)
        first = seen.browser.get("/exams?sender=MODALITY")
        (further,) = re.findall(r'href="(/exams\?[^"]*cursor=[^"]*)"', first.text)
        second = seen.browser.get(unescape(further))
        assert (listed(first.text), listed(second.text)) == ([5, 4], [3, 2])
        back, _ = re.findall(r'href="(/exams\?[^"]*cursor=[^"]*)"', second.text)
        assert listed(seen.browser.get(unescape(back)).text) == [5, 4]

        form = {"patient": "P-10", "beginning": "yes"}
        private = seen.browser.post("/exams", data=form)
        cursors = re.findall(r'name="cursor" value="([^"]+)"', private.text)
        assert listed(private.text) == [5, 4]
        after = seen.browser.post("/exams", data=form | {"cursor": cursors[0]})
        assert listed(after.text) == [3, 2]

    def test_nothing_found_says_what_was_looked_for(self, seen: ConsoleUnderTest):
        page = seen.browser.post("/exams", data={"q": "Doe^Jane"})
        assert said(page.text) == "Nothing is found for what was typed."
        assert "Names of patients are not kept" in page.text
        assert "With fewer fields there may be more" in seen.browser.get("/exams?sender=X").text

    def test_an_empty_node_says_when_exams_appear(self, tmp_path: Path):
        with console_under_test(tmp_path / "empty") as node:
            assert "No exam has been received yet" in node.browser.get("/exams").text

    def test_a_node_that_keeps_no_identifiers_has_no_fields_for_them(self, tmp_path: Path):
        folder = tmp_path / "none"
        folder.mkdir()
        with console_under_test(folder) as node:
            # The settings of a site that keeps none, with everything else as it is.
            table = node.app.settings.node.model_copy(update={"keep_identifiers": False})
            node.app.settings = node.app.settings.model_copy(update={"node": table})
            node.store.exams.accept(new_image(1), now=T0)
            page = node.browser.get("/exams").text
        assert "keeps no Patient ID" in page
        assert 'name="patient"' not in page
        assert "Accession" not in page


class TestOddValues:
    def test_what_a_modality_sent_is_shown_as_text(self, node: ConsoleUnderTest):
        known = ExamIdentifiers("<script>alert(1)</script>")
        node.store.exams.accept(new_image(1, "1.9", identifiers=known), now=T0)
        page = node.browser.get("/exams?uid=1.9")
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;alert" in page.text

    def test_a_list_is_a_file_for_a_spreadsheet(self, node: ConsoleUnderTest):
        odd = ExamIdentifiers('=HYPERLINK("x")', "A,1")
        node.store.exams.accept(new_image(1, "1.9", identifiers=odd), now=T0)
        answer = node.browser.post("/exams/csv", data={"sender": "MODALITY"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert "attachment" in answer.headers["content-disposition"]
        head, *lines = csv.reader(io.StringIO(answer.text))
        assert tuple(head) == COLUMNS
        assert [int(line[0]) for line in lines] == [5, 4, 3, 2, 1, 6]
        found = dict(zip(head, lines[-1], strict=True))
        assert (found["Patient ID"], found["accession number"]) == ('\'=HYPERLINK("x")', "A,1")


class TestActions:
    def confirmed(self, node: ConsoleUnderTest, action: str, *exam_ids: int, **more: str) -> str:
        form = {"action": action, "exam_id": [str(number) for number in exam_ids], **more}
        asked = node.browser.post("/exams/confirm", data=form)
        assert asked.status_code == 200
        done = node.browser.post("/exams/do", data=form)
        assert done.status_code == 200
        return done.text

    def test_nothing_happens_before_it_is_confirmed(self, seen: ConsoleUnderTest):
        for action in ("retry", "cancel", "reanalyze", "resend", "urgent", "normal"):
            form = {"action": action, "exam_id": ["1", "2"]}
            page = seen.browser.post("/exams/confirm", data=form)
            assert "Exams 1, 2" in page.text
            dialog = seen.browser.post("/exams/confirm", data=form, headers={"HX-Request": "true"})
            assert dialog.text.strip().startswith("<dialog")
        assert [status_of(seen, number) for number in (1, 2)] == ["delivered", "failed"]

    def test_a_failed_exam_is_tried_again(self, node: ConsoleUnderTest):
        assert "it is reported again" in self.confirmed(node, "retry", 2)
        assert last_event(node, 2) == ("retry", "localhost")

    def test_all_that_failed_of_one_cause_are_tried_again(self, node: ConsoleUnderTest):
        page = node.browser.get("/exams").text
        assert "Try every exam again that failed with E602" in page
        asked = node.browser.post("/exams/confirm", data={"code": "E602"}).text
        (exam_id,) = re.findall(r'name="exam_id" value="(\d+)"', asked)
        assert exam_id == "2"
        self.confirmed(node, "retry", int(exam_id))
        assert status_of(node, 2) is ExamStatus.REPORTED
        assert "Try every exam" not in node.browser.get("/exams").text

    def test_an_exam_is_given_up_with_a_reason(self, node: ConsoleUnderTest):
        form = {"action": "cancel", "exam_id": "4"}
        assert "Say why" in node.browser.post("/exams/do", data=form).text
        assert status_of(node, 4) is ExamStatus.RECEIVING
        self.confirmed(node, "cancel", 4, why="a test image")
        assert status_of(node, 4) is ExamStatus.CANCELLED
        event = node.store.records.exam_detail(4).events[-1]
        assert "a test image" in event.text
        assert event.actor == "localhost"

    def test_an_exam_is_read_again_as_another(self, node: ConsoleUnderTest):
        answer = self.confirmed(node, "reanalyze", 1)
        assert "read again as exam 6" in answer
        assert 'href="/exams/6"' in answer
        assert last_event(node, 6) == ("reanalyze", "localhost")

    def test_results_are_sent_again_to_one_destination_or_all(self, node: ConsoleUnderTest):
        self.confirmed(node, "resend", 1, to="B")
        waiting = node.store.records.exam_detail(1).deliveries
        assert [(one.destination, one.status) for one in waiting] == [
            ("A", "delivered"),
            ("B", "pending"),
        ]
        assert last_event(node, 1) == ("resend", "localhost")

    def test_a_destination_that_is_not_there_is_said(self, node: ConsoleUnderTest):
        form = {"action": "resend", "exam_id": "1", "to": "C"}
        answer = node.browser.post("/exams/do", data=form)
        assert answer.status_code == 422
        assert "E101" in answer.text
        assert status_of(node, 1) is ExamStatus.DELIVERED

    def test_an_exam_is_made_urgent_and_normal_again(self, node: ConsoleUnderTest):
        self.confirmed(node, "urgent", 5)
        assert "urgent</span>" in node.browser.get("/exams?exam=5").text
        claimed = node.store.exams.claim_exam("w", now=T0 + 9 * SECOND, lease=LEASE)
        assert claimed is not None
        assert claimed.id == 5
        self.confirmed(node, "normal", 5)
        assert last_event(node, 5) == ("priority", "localhost")

    def test_one_that_refuses_does_not_keep_the_others_from_it(self, node: ConsoleUnderTest):
        answer = self.confirmed(node, "retry", 2, 1, 99)
        assert "done for 1 of 3" in answer
        assert "exam 1 is delivered: there is nothing to start again" in answer
        assert "there is no exam 99" in answer
        assert status_of(node, 2) is ExamStatus.REPORTED

    def test_no_exam_and_no_such_action_are_answered(self, seen: ConsoleUnderTest):
        assert (
            "No exam is chosen"
            in seen.browser.post("/exams/confirm", data={"action": "retry"}).text
        )
        for form in ({"action": "burn", "exam_id": "1"}, {"action": "retry", "exam_id": "x"}):
            assert seen.browser.post("/exams/confirm", data=form).status_code == 422

    @pytest.mark.parametrize(
        ("exam_id", "offered"),
        [
            (1, ["resend", "reanalyze"]),
            (2, ["retry", "reanalyze", "urgent", "cancel"]),
            (3, ["retry", "reanalyze", "urgent", "cancel"]),
            (4, ["urgent", "cancel"]),
        ],
    )
    def test_an_exam_offers_what_can_be_done_with_it(
        self, seen: ConsoleUnderTest, exam_id: int, offered: list[str]
    ):
        part = seen.browser.get(f"/exams/{exam_id}/actions", headers={"HX-Request": "true"})
        assert re.findall(r'name="action" value="(\w+)"', part.text) == offered
        assert seen.browser.get("/exams/99/actions").status_code == 404

    def test_two_studies_under_one_accession_number_name_each_other(self, seen: ConsoleUnderTest):
        assert "/exams/2" in seen.browser.get("/exams/3/actions").text
        assert "Other exams" not in seen.browser.get("/exams/1/actions").text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_viewer_looks_and_an_operator_decides(node: ConsoleUnderTest, role: Role):
    access = node.browser.app.state.console.access  # type: ignore[attr-defined]
    _, secret = access.add_token("program", role, 30, owner=None, by="a test")
    asking = {"Authorization": f"Bearer {secret}"}
    api = "/api/v1/exams"
    assert node.browser.get(api, headers=asking).status_code == 200
    page = node.browser.get("/exams", headers=asking).text
    assert ('value="retry"' in page) is (role is Role.OPERATOR)
    part = node.browser.get("/exams/2/actions", headers=asking).text
    assert ('value="retry"' in part) is (role is Role.OPERATOR)
    answers = [
        node.browser.post("/exams/confirm", data={"action": "retry"}, headers=asking),
        node.browser.post("/exams/do", data={"action": "retry", "exam_id": "2"}, headers=asking),
        node.browser.post(f"{api}/1/reanalyze", headers=asking),
        node.browser.post(f"{api}/1/resend", json={}, headers=asking),
        node.browser.post(f"{api}/4/cancel", json={"why": "a test"}, headers=asking),
        node.browser.post(f"{api}/5/priority", json={"urgent": True}, headers=asking),
        node.browser.post(f"{api}/retry", json={"code": "E602"}, headers=asking),
        node.browser.post(f"{api}/2/retry", headers=asking),
    ]
    refused = [answer.status_code == 403 for answer in answers]
    assert refused == [role is Role.VIEWER] * len(answers)
    if role is Role.VIEWER:
        assert [status_of(node, number) for number in (2, 4)] == ["failed", "receiving"]


class TestApi:
    def test_it_finds_what_the_page_finds(self, seen: ConsoleUnderTest):
        api = "/api/v1/exams"
        answer = seen.browser.get(f"{api}?status=failed&status=reported&limit=1").json()
        assert [exam["id"] for exam in answer["exams"]] == [3]
        assert (answer["count"], answer["count_is_exact"], answer["previous"]) == (2, True, None)
        further = seen.browser.get(
            api, params={"status": ["failed", "reported"], "limit": 1, "cursor": answer["next"]}
        ).json()
        assert [exam["id"] for exam in further["exams"]] == [2]
        found = seen.browser.post(f"{api}/search", json={"patient_id": "P-102"}).json()
        assert [exam["accession_number"] for exam in found["exams"]] == ["A-1"]
        assert found["exams"][0]["study_date"] == "2026-03-02"

    def test_it_takes_no_patient_in_an_address(self, seen: ConsoleUnderTest):
        answer = seen.browser.get("/api/v1/exams?patient_id=P-102&accession_number=A-1").json()
        assert answer["count"] == 5
        described = seen.browser.get("/api/v1/openapi.json").json()
        named = {one["name"] for one in described["paths"]["/api/v1/exams"]["get"]["parameters"]}
        assert not named & {"patient_id", "accession_number", "studied_from"}

    @pytest.mark.parametrize(
        "body",
        [
            {"cursor": "nonsense"},
            {"patient_id": "P", "by_beginning": True},
            {"by_beginning": True},
            {"received_from": "2026-03-01T00:00:00"},
            {"limit": 0},
            {"status": ["lost"]},
        ],
    )
    def test_what_cannot_be_understood_is_refused_without_repeating_it(
        self, seen: ConsoleUnderTest, body: dict[str, Any]
    ):
        answer = seen.browser.post("/api/v1/exams/search", json=body)
        assert answer.status_code == 422
        assert "nonsense" not in answer.text

    def test_it_does_what_the_page_does(self, node: ConsoleUnderTest):
        api = "/api/v1/exams"
        assert node.browser.post(f"{api}/5/priority", json={"urgent": True}).json()["done"]
        assert node.browser.post(f"{api}/2/retry").json()["text"] == "it is reported again"
        assert node.browser.post(f"{api}/1/resend", json={"destination": "A"}).status_code == 200
        assert node.browser.post(f"{api}/3/reanalyze").json()["new_exam_id"] == 6
        assert node.browser.post(f"{api}/4/cancel", json={"why": "a test"}).status_code == 200
        assert node.browser.post(f"{api}/4/cancel", json={}).status_code == 422
        refused = node.browser.post(f"{api}/4/retry")
        assert (refused.status_code, refused.json()["code"]) == (409, "E701")
        assert node.browser.post(f"{api}/99/retry").status_code == 404
        assert [one["id"] for one in node.browser.get(f"{api}/3/accession").json()] == [2]

    def test_all_that_failed_of_one_cause_start_again(self, node: ConsoleUnderTest):
        answer = node.browser.post("/api/v1/exams/retry", json={"code": "E602"}).json()
        assert [(one["exam_id"], one["done"]) for one in answer] == [(2, True)]

    def test_a_search_is_a_file_too(self, seen: ConsoleUnderTest):
        answer = seen.browser.post("/api/v1/exams/search.csv", json={"patient_id": "P-101"})
        assert len(answer.text.splitlines()) == 2
