"""The page of one exam and its API, on a real store with an exam that was really read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from cadnode.app import utc_now
from cadnode.core.audit import AuditEvent, InstancesAccessed
from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.exam import ExamRules
from cadnode.core.jobs import Acceptance
from cadnode.dicom.reader import DicomReader
from cadnode.pictures.pyramid import TILE_SIZE
from cadnode.storage.reading import ExamRecords
from cadnode.web.viewer.ports import TileSource
from tests.analyzed import analyze, receive
from tests.console import ConsoleUnderTest, console_under_test
from tests.contract.fake_classifier import FAKE_SPEC
from tests.objects import (
    add_cluster,
    breast_phantom,
    flip_points,
    four_views,
    mammogram,
    secondary_capture,
)

SPACING = 0.1
SHAPE = (700, 560)
CLUSTER = (300.0, 350.0)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
STUDY = "1.2.826.0.1.3680043.8.498.77"
DESTINATION = """
[[destinations]]
name = "ARCHIVE"
host = "127.0.0.1"
port = 11112
ae_title = "ARCHIVE"
"""


def picture(laterality: str, *, cluster: bool) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    film = breast_phantom(*SHAPE, SPACING, seed=3, laterality=laterality) * 0.7
    dots = add_cluster(film, CLUSTER, SPACING, n=12, spread_mm=4, contrast=0.35) if cluster else ()
    return film.astype(np.float32), np.array(dots)


def exam_objects() -> list[Dataset]:
    """RCC with a cluster, LCC as MONOCHROME1, RMLO turned round with a cluster, LMLO compressed,
    a view the node does not read, and a screenshot."""
    right, _ = picture("R", cluster=True)
    left, _ = picture("L", cluster=False)
    common: dict[str, Any] = {"spacing_mm": SPACING, "study_uid": STUDY}
    return [
        mammogram(right, laterality="R", view="CC", instance_number=1, **common),
        mammogram(
            left, laterality="L", view="CC", instance_number=2, photometric="MONOCHROME1", **common
        ),
        mammogram(right, laterality="R", view="MLO", instance_number=3, orientation="h", **common),
        mammogram(
            left,
            laterality="L",
            view="MLO",
            instance_number=4,
            transfer_syntax_uid=JPEG_LOSSLESS,
            **common,
        ),
        mammogram(
            left,
            laterality="L",
            view="CC",
            instance_number=5,
            modifiers=["magnification"],
            **common,
        ),
        secondary_capture(study_uid=STUDY),
    ]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path_factory.mktemp("node"), DESTINATION) as node:
        receive(node, exam_objects())
        analyze(node)
        yield node


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path) as node:
        yield node


def images(node: ConsoleUnderTest, exam: int = 1) -> dict[str, dict[str, Any]]:
    """The images of an exam by view name; the magnification view is not one of them."""
    answer = node.browser.get(f"/api/v1/exams/{exam}/images")
    assert answer.status_code == 200
    return {image["view_name"]: image for image in reversed(answer.json())}


def decoded(node: ConsoleUnderTest, image: dict[str, Any], exam: int = 1) -> NDArray[np.uint8]:
    for kept in node.store.records.exam_detail(exam).images:
        if kept.id == image["id"]:
            reader, path = DicomReader(), node.app.settings.node.data_dir / kept.path
            header = reader.header(path)
            pixels = reader.mammogram(path, header).pixels
            return np.asarray(pixels * 255 + 0.5).astype(np.uint8)
    raise AssertionError("no such image")


def tile(node: ConsoleUnderTest, image: dict[str, Any], name: str) -> NDArray[np.uint8]:
    answer = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/tiles_files/{name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, max-age=3600"
    return np.asarray(Image.open(BytesIO(answer.content)))


class TestTiles:
    @pytest.mark.parametrize("view", ["RCC", "LCC", "RMLO", "LMLO"])
    def test_the_deepest_level_is_the_received_image_pixel_for_pixel(self, node, view):
        image = images(node)[view]
        expected = decoded(node, image)
        source = TileSource(**image["tiles"])
        assert (source.height, source.width) == expected.shape == SHAPE
        for row, column in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            top, left = row * TILE_SIZE, column * TILE_SIZE
            there = expected[
                max(top - 1, 0) : top + TILE_SIZE + 1, max(left - 1, 0) : left + TILE_SIZE + 1
            ]
            found = tile(node, image, f"{source.max_level}/{column}_{row}.png")
            assert np.array_equal(found, there)

    def test_an_overview_is_the_same_picture_smaller(self, node):
        image = images(node)["RCC"]
        small = tile(node, image, f"{image['tiles']['max_level'] - 1}/0_0.jpg").astype(float)
        expected = decoded(node, image).reshape(350, 2, 280, 2).mean(axis=(1, 3))
        assert np.abs(small - expected).mean() < 2

    def test_a_deep_zoom_descriptor_gives_the_measures(self, node):
        image = images(node)["RCC"]
        answer = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/tiles.dzi")
        assert answer.headers["content-type"] == "application/xml"
        assert 'TileSize="512"' in answer.text
        assert 'Width="560" Height="700"' in answer.text
        measures = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/tiles").json()
        assert measures == image["tiles"]

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("10/9_0.png", 404),
            ("99/0_0.png", 404),
            ("10/0_0.gif", 422),
            ("10/-1_0.png", 422),
            ("10/99999999999999999999_0.png", 422),
        ],
    )
    def test_a_tile_that_is_not_there_is_answered_so(self, node, name, status):
        image = images(node)["RCC"]
        answer = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/tiles_files/{name}")
        assert answer.status_code == status
        assert set(answer.json()) == {"code", "detail"}

    def test_an_image_is_shown_only_with_its_own_exam(self, fresh):
        receive(fresh, [mammogram(study_uid="1.2.1"), mammogram(study_uid="1.2.2")])
        assert fresh.browser.get("/api/v1/exams/1/images/1").status_code == 200
        for path in ("", "/tiles", "/patch-scores", "/picture.png", "/tiles_files/5/0_0.png"):
            assert fresh.browser.get(f"/api/v1/exams/2/images/1{path}").status_code == 404

    def test_an_image_of_no_side_and_view_is_shown_all_the_same(self, node):
        (magnified,) = [
            image
            for image in node.browser.get("/api/v1/exams/1/images").json()
            if image["reason"] and image["reason"]["code"] == "N104"
        ]
        assert tile(node, magnified, "10/0_0.png").std() > 10

    def test_memory_for_decoded_images_stays_within_its_setting(self, tmp_path):
        with console_under_test(tmp_path, "[web]\nimage_memory_mb = 16\n") as node:
            film = np.tile(np.linspace(0, 1, 2200, dtype=np.float32), (3000, 1))
            receive(
                node,
                [
                    mammogram(film, study_uid=STUDY, instance_number=n, sop_uid=f"1.2.{n}")
                    for n in (1, 2, 3)
                ],
            )
            viewer = node.browser.app.state.console.viewer  # type: ignore[attr-defined]
            for image in (1, 2, 3, 1):
                assert len(viewer.tile(1, image, 12, 0, 0, "jpg")) > 100
                assert viewer._pyramids.bytes <= 16 << 20


class TestScores:
    def test_the_heat_and_the_patches_lie_on_the_cluster_in_received_pixels(self, node):
        _, dots = picture("R", cluster=True)
        for view, orientation in (("RCC", ""), ("RMLO", "h")):
            truth = np.mean(flip_points(tuple(map(tuple, dots)), SHAPE, orientation), axis=0)
            image = images(node)[view]
            scores = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/patch-scores").json()
            assert (scores["rows"], scores["columns"]) == SHAPE
            assert tuple(scores["thresholds"]) == FAKE_SPEC.thresholds
            best = scores["boxes"][int(np.argmax(scores["probability"]))]
            assert np.all(best[:2] <= truth)
            assert np.all(best[2:] >= truth)
            heat = scores["heat"]
            row, column = np.unravel_index(np.argmax(heat["values"]), np.shape(heat["values"]))
            step = np.array([heat["column_step"], heat["row_step"]])
            assert np.all(np.abs((np.array([column, row]) + 0.5) * step - truth) < 1.5 * step)
            (mark,) = image["findings"]
            assert np.hypot(*(np.array(mark["center"]) - truth)) < 10

    def test_the_heat_picture_has_one_pixel_for_each_cell(self, node):
        image = images(node)["RCC"]
        base = f"/api/v1/exams/1/images/{image['id']}"
        values = np.array(node.browser.get(f"{base}/patch-scores").json()["heat"]["values"])
        shown = np.asarray(Image.open(BytesIO(node.browser.get(f"{base}/heat.png").content)))
        assert shown.shape == (*values.shape, 4)
        assert np.abs(shown[..., 3] / 200 - values).max() < 0.01

    def test_an_image_that_was_not_read_has_none(self, node):
        unread = next(i for i in node.browser.get("/api/v1/exams/1/images").json() if i["reason"])
        assert not unread["has_patch_scores"]
        answer = node.browser.get(f"/api/v1/exams/1/images/{unread['id']}/patch-scores")
        assert answer.status_code == 404


class TestResults:
    def test_a_report_is_given_as_it_is_sent(self, node):
        (cad, tid) = node.browser.get("/api/v1/exams/1/results").json()
        assert (cad["kind"], tid["kind"]) == ("mammography-cad-sr", "tid1500-sr")
        answer = node.browser.get(f"/api/v1/exams/1/results/{cad['id']}/file")
        assert answer.headers["content-type"] == "application/dicom"
        assert f"exam-1-mammography-cad-sr-{cad['id']}.dcm" in answer.headers["content-disposition"]
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.content == (node.app.settings.node.data_dir / cad["path"]).read_bytes()
        assert dcmread(BytesIO(answer.content)).SOPInstanceUID == cad["sop_instance_uid"]

    def test_the_content_of_a_report_says_all_that_stands_in_it(self, node):
        cad = node.browser.get("/api/v1/exams/1/results").json()[0]
        tree = node.browser.get(f"/api/v1/exams/1/results/{cad['id']}/tree").json()
        assert tree["name"]["meaning"] == "Mammography CAD Report"
        items = list(walk(tree))
        stored = dcmread(node.app.settings.node.data_dir / cad["path"])
        assert len(items) == count_items(stored)
        kinds = {item["value_type"] for item in items}
        assert {"CONTAINER", "CODE", "NUM", "SCOORD", "IMAGE", "TEXT"} <= kinds
        certainty = next(
            i for i in items if i["name"] and i["name"]["meaning"] == "Certainty of Finding"
        )
        assert 0 < certainty["number"] <= 100
        assert certainty["unit"]["value"] == "%"
        outline = next(i for i in items if i["graphic_type"] == "POLYLINE")
        assert outline["points"][0] == outline["points"][-1]
        named = {item["sop_instance_uid"] for item in items if item["value_type"] == "IMAGE"}
        assert {image["sop_instance_uid"] for image in images(node).values()} >= named
        paths = {item["path"] for item in items}
        targets = {item["target"] for item in items if item["target"]}
        assert targets
        assert targets <= paths

    def test_the_content_is_a_page_and_a_part_of_one(self, node):
        cad = node.browser.get("/api/v1/exams/1/results").json()[0]
        page = node.browser.get(f"/exams/1/results/{cad['id']}")
        part = node.browser.get(f"/exams/1/results/{cad['id']}", headers={"HX-Request": "true"})
        for answer in (page, part):
            assert "Mammography CAD Report" in answer.text
            assert "Calcification Cluster" in answer.text
            assert "<details" in answer.text
        assert "<html" in page.text
        assert "<html" not in part.text
        assert "Test^Object" not in page.text

    def test_the_findings_have_the_shape_of_the_command(self, node):
        answer = node.browser.get("/api/v1/exams/1/findings?download=true")
        assert "exam-1-findings.json" in answer.headers["content-disposition"]
        found = answer.json()
        assert list(found) == ["software", "model", "images", "results", "problems"]
        assert found["model"] == {
            "name": "fake",
            "version": "1",
            "thresholds": list(FAKE_SPEC.thresholds),
            "recommended_operating_point": 1,
        }
        by_view = {f"{i['laterality']}{i['view']}": i for i in found["images"] if not i["reason"]}
        assert [len(by_view[view]["findings"]) for view in ("RCC", "RMLO")] == [1, 1]
        assert by_view["RCC"]["findings"] == images(node)["RCC"]["findings"]
        assert "Test^Object" not in answer.text
        assert "TEST-0001" not in answer.text

    def test_all_of_it_comes_in_one_file_without_a_patient_in_its_names(self, node):
        answer = node.browser.get("/api/v1/exams/1/archive.zip")
        assert answer.headers["cache-control"] == "private, no-store"
        with zipfile.ZipFile(BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            found = json.loads(archive.read("exam-1-findings.json"))
            rcc = next(i for i in found["images"] if (i["laterality"], i["view"]) == ("R", "CC"))
            marked = Image.open(BytesIO(archive.read(rcc["picture"])))
            assert {result["path"] for result in found["results"]} <= set(names)
        assert all(name.startswith("exam-1-") for name in names)
        assert sum(name.endswith(".dcm") for name in names) == 2
        assert marked.size == (SHAPE[1], SHAPE[0])

    def test_a_picture_shows_the_marks_at_full_resolution(self, node):
        image = images(node)["RCC"]
        answer = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/picture.png")
        assert answer.headers["content-type"] == "image/png"
        shown = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB")).astype(int)
        assert shown.shape == (*SHAPE, 3)
        coloured = np.abs(shown[..., 0] - shown[..., 2]) > 60
        column, row = image["findings"][0]["outline"][0]
        assert coloured[int(row) - 4 : int(row) + 5, int(column) - 4 : int(column) + 5].any()
        film = decoded(node, image)
        assert np.array_equal(shown[~coloured][:, 0][:1000], film[~coloured][:1000])


def walk(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield item
    for child in item["children"]:
        yield from walk(child)


def count_items(dataset: Dataset) -> int:
    return 1 + sum(count_items(child) for child in dataset.get("ContentSequence") or ())


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


def page_data(page: str) -> dict[str, Any]:
    begin = page.index('id="exam-data">') + len('id="exam-data">')
    data: dict[str, Any] = json.loads(page[begin : page.index("</script>", begin)])
    return data


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


def status_version(node: ConsoleUnderTest) -> str:
    page = node.browser.get("/exams/1/status").text
    return page.split('data-pictures="')[1].split('"')[0]


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
