"""The page of one exam, whatever state it is in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cadnode.app import utc_now
from cadnode.core.exam import ExamRules
from cadnode.core.jobs import Acceptance
from cadnode.dicom.reader import DicomReader
from tests.analyzed import analyze, receive
from tests.console import ConsoleUnderTest
from tests.integration.viewer.exam import JPEG_LOSSLESS, SPACING, STUDY, images, page_data, picture
from tests.objects import four_views, mammogram, secondary_capture


def status_version(node: ConsoleUnderTest) -> str:
    page = node.browser.get("/exams/1/status").text
    return page.split('data-pictures="')[1].split('"')[0]


class TestPage:
    def test_the_four_views_hang_with_the_right_breast_on_the_left(self, node):
        page = node.browser.get("/exams/1")
        assert page.headers["cache-control"] == "private, no-store"
        places = [page.text.index(f"<strong>{v}</strong>") for v in ("RCC", "LCC", "RMLO", "LMLO")]
        assert places == sorted(places)
        data = page_data(page.text)
        assert len(data["images"]) == 6
        by_view = {image["name"]: image for image in reversed(data["images"])}
        assert by_view["RMLO"]["mirrored"]
        assert not by_view["RCC"]["mirrored"]
        assert "chest walls meet" in page.text
        assert data["points"] == {"thresholds": [0.9, 0.7, 0.5], "shown": 1}
        (mark,) = by_view["RCC"]["marks"]
        assert len(mark["spots"]) == len(images(node)["RCC"]["findings"][0]["calcifications"]) >= 8

    def test_an_image_that_was_set_aside_says_why(self, node):
        page = node.browser.get("/exams/1").text
        assert "a magnification or spot view is not a screening view" in page
        assert "N104" in page
        assert "Further images" in page
        assert "Images as they were received (6)" in page
        assert '<td class="number">560 x 700</td>' in page

    def test_what_happened_is_told_in_sentences_with_names_and_a_time_zone(self, node):
        page = node.browser.get("/exams/1/status").text
        assert "Image RCC was received from MODALITY and kept." in page
        assert "process 4711 on host" in page
        assert "Waits for delivery to ARCHIVE" in page
        assert utc_now().astimezone().strftime("%Z") in page
        assert STUDY not in page
        assert 'hx-trigger="every' in page
        events = node.browser.get("/api/v1/exams/1/events").json()
        assert events[0]["kind"] == "receiving"
        deliveries = node.browser.get("/api/v1/exams/1/deliveries").json()
        assert [(d["destination"], d["status"]) for d in deliveries] == [("ARCHIVE", "pending")] * 2

    def test_no_script_or_style_stands_in_the_page_itself(self, node):
        page = node.browser.get("/exams/1").text
        assert "style=" not in page
        assert "<style" not in page
        assert "onclick" not in page
        assert page.count("<script") == page.count('<script src="/static/') + 1
        assert '<script type="application/json" id="exam-data">' in page

    def test_an_exam_that_is_not_there_is_a_page_and_json(self, node):
        assert node.browser.get("/exams/77").status_code == 404
        assert node.browser.get("/exams/77/status").status_code == 404
        answer = node.browser.get("/api/v1/exams/77/images")
        assert (answer.status_code, answer.json()["code"]) == (404, "E703")
        assert node.browser.get("/exams/99999999999999999999").status_code == 422


class TestStates:
    def test_an_exam_still_receiving_shows_its_images_before_they_are_read(self, fresh):
        receive(fresh, four_views(study_uid=STUDY)[:2])
        page = fresh.browser.get("/exams/1").text
        assert page.count("Waits to be read") == 2
        assert "No RMLO image" in page
        assert "Waits for a worker to analyze its images" in page
        assert 'hx-trigger="every' in page
        before = status_version(fresh)
        analyze(fresh, ExamRules(frozenset({"RCC", "LCC", "RMLO", "LMLO"}), quiet_seconds=3600))
        assert status_version(fresh) != before
        assert "Waits for further images until" in fresh.browser.get("/exams/1/status").text

    def test_a_broken_image_says_why_there_is_no_picture(self, fresh):
        whole = four_views(study_uid=STUDY)
        whole[0].PixelData = whole[0].PixelData[:100]
        receive(fresh, whole)
        analyze(fresh)
        page = fresh.browser.get("/exams/1").text
        assert "Could not be read: the pixel data is shorter than the header says" in page
        for path in ("tiles", "tiles_files/6/0_0.jpg", "picture.png"):
            answer = fresh.browser.get(f"/api/v1/exams/1/images/1/{path}")
            assert (answer.status_code, answer.json()["code"]) == (422, "E301")
            assert "N202" in answer.json()["detail"]
        # What can be had is had.
        assert fresh.browser.get("/api/v1/exams/1/archive.zip").status_code == 200

    def test_an_image_that_cannot_be_decoded_is_not_decoded_for_every_tile(
        self, fresh, monkeypatch
    ):
        whole = mammogram(study_uid=STUDY, transfer_syntax_uid=JPEG_LOSSLESS)
        whole.PixelData = whole.PixelData[:200] + bytes(200) + whole.PixelData[400:]
        receive(fresh, [whole])
        now, tries = [utc_now()], []
        grey = DicomReader.grey

        def counted(*of: Any) -> Any:
            tries.append(1)
            return grey(*of)

        monkeypatch.setattr("cadnode.console.viewer.utc_now", lambda: now[0])
        monkeypatch.setattr(DicomReader, "grey", counted)
        path = "/api/v1/exams/1/images/1/tiles_files/6/0_0.jpg"
        first, second = fresh.browser.get(path), fresh.browser.get(path)
        assert (first.status_code, second.status_code, len(tries)) == (422, 422, 1)
        assert second.json()["detail"][:9] == first.json()["detail"][:9]
        now[0] += timedelta(minutes=1)
        fresh.browser.get(path)
        assert len(tries) == 2

    def test_a_purged_exam_keeps_its_history_and_has_no_pictures(self, fresh):
        receive(fresh, [secondary_capture(study_uid=STUDY)])
        analyze(fresh)
        assert "there is nothing in it that this node reads" in fresh.browser.get("/exams/1").text
        for path in fresh.store.exams.mark_purged(1, now=utc_now()):
            fresh.spool.remove(path)
        page = fresh.browser.get("/exams/1").text
        assert "The retention time is over" in page
        assert "the file was deleted at the end of the retention time" in page
        assert "archive.zip" not in page
        assert "Waits for nothing any more" in page
        assert 'hx-trigger="every' not in page
        assert fresh.browser.get("/api/v1/exams/1/images/1/tiles").status_code == 404
        assert fresh.browser.get("/api/v1/exams/1/findings").status_code == 200

    def test_revisions_lead_to_each_other_and_show_the_images_they_read(self, fresh):
        film, _ = picture("R", cluster=True)
        first = mammogram(film, spacing_mm=SPACING, study_uid=STUDY)
        receive(fresh, [first])
        analyze(fresh)
        late = mammogram(film, spacing_mm=SPACING, study_uid=STUDY, view="MLO", instance_number=2)
        assert receive(fresh, [late], calling_ae="OTHER") == [Acceptance.NEW]
        analyze(fresh)
        older, newer = (fresh.browser.get(f"/exams/{exam}").text for exam in (1, 2))
        assert "There is a newer revision of this exam" in older
        assert 'href="/exams/2"' in older
        assert 'href="/exams/1"' in newer
        assert [image["name"] for image in page_data(newer)["images"]] == ["RCC", "RMLO"]
        assert [image["name"] for image in page_data(older)["images"]] == ["RCC"]
        assert "<dt>Sent by</dt><dd>OTHER, MODALITY</dd>" in newer
        # The image of the earlier revision, through the page of the later one.
        assert fresh.browser.get("/api/v1/exams/2/images/1/tiles").status_code == 200
        assert fresh.browser.get("/api/v1/exams/1/images/2/tiles").status_code == 404

    def test_scores_are_read_with_the_thresholds_of_the_model_that_gave_them(self, fresh):
        film, _ = picture("R", cluster=True)
        receive(fresh, [mammogram(film, spacing_mm=SPACING, study_uid=STUDY)])
        analyze(fresh)
        image = images(fresh)["RCC"]
        assert image["operating_points"] == {"thresholds": [0.9, 0.7, 0.5], "recommended": 1}
        assert image["model"] == "fake 1"

    def test_an_exam_read_before_scores_were_kept_is_read_with_what_the_bundle_says(self, fresh):
        film, _ = picture("R", cluster=True)
        receive(fresh, [mammogram(film, spacing_mm=SPACING, study_uid=STUDY)])
        analyze(fresh)
        with fresh.store.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM patch_scores")
        unknown = images(fresh)["RCC"]
        assert (unknown["operating_points"], unknown["has_patch_scores"]) == (None, False)
        page = fresh.browser.get("/exams/1")
        assert page.status_code == 200
        assert 'id="operating-point"' not in page.text
        assert "Patch heat map" not in page.text
        spec = fresh.app.bundle().spec
        with fresh.store.database.write() as connection:
            connection.exec_driver_sql(f"UPDATE images SET model = '{spec.name} {spec.version}'")
        points = images(fresh)["RCC"]["operating_points"]
        assert points == {"thresholds": list(spec.thresholds), "recommended": spec.recommended}
        assert 'id="operating-point"' in fresh.browser.get("/exams/1").text
