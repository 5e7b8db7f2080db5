"""The result objects of one exam: their trees, their files, their pictures."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.contract.fake_classifier import FAKE_SPEC
from tests.integration.viewer.exam import SHAPE, decoded, images


def walk(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield item
    for child in item["children"]:
        yield from walk(child)


def count_items(dataset: Dataset) -> int:
    return 1 + sum(count_items(child) for child in dataset.get("ContentSequence") or ())


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
