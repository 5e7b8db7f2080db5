"""The tiles and scores of the images of one exam."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cadnode.pictures.pyramid import TILE_SIZE
from cadnode.web.viewer.ports import TileSource
from tests.analyzed import receive
from tests.console import console_under_test
from tests.contract.fake_classifier import FAKE_SPEC
from tests.integration.viewer.exam import SHAPE, STUDY, decoded, images, picture, tile
from tests.objects import flip_points, mammogram


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
