"""The page of one exam in a real browser: films, marks, the slider and the heat map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.analyzed import analyze, receive
from tests.chromium import chromium, complaints, served
from tests.console import ConsoleUnderTest, console_under_test
from tests.objects import add_cluster, breast_phantom, mammogram

STUDY = "1.2.826.0.1.3680043.8.498.78"
SPACING = 0.1
CONTRASTS = {"RCC": 0.022, "LCC": 0.02, "RMLO": 0.1, "LMLO": 0.0}
"""So that the marks are shown from the operating points 2, 1 and 0 on; none in the last view."""

PIXELS = """view => {
  const film = view.querySelector(".openseadragon-canvas canvas");
  const data = film.getContext("2d").getImageData(0, 0, film.width, film.height).data;
  let least = 255, most = 0;
  for (let at = 0; at < data.length; at += 4) {
    least = Math.min(least, data[at]); most = Math.max(most, data[at]);
  }
  return [least, most];
}"""

OUTLINE = """view => {
  const shape = view.querySelector(".mark polygon").getBoundingClientRect();
  const film = view.querySelector("[data-film]").getBoundingClientRect();
  return [(shape.left + shape.right) / 2 - film.left, (shape.top + shape.bottom) / 2 - film.top];
}"""


DOTS = """(view, [x, y]) => {
  const film = view.querySelector(".openseadragon-canvas canvas");
  const scale = film.width / film.clientWidth;
  const side = 100 * scale;
  const data = film.getContext("2d")
    .getImageData(x * scale - side / 2, y * scale - side / 2, side, side).data;
  const greys = [];
  for (let at = 0; at < data.length; at += 4) greys.push(data[at]);
  greys.sort((one, other) => one - other);
  return greys.at(-1) - greys[greys.length >> 1];
}"""
"""How far the brightest grey around a place stands above the median there."""


@dataclass(frozen=True)
class Seen:
    node: ConsoleUnderTest
    page: Page
    heard: list[str]

    def view(self, name: str):
        return self.page.locator(".view", has=self.page.get_by_text(name, exact=True)).first

    def marks(self, name: str) -> int:
        return int(self.view(name).locator(".mark:not([hidden])").count())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    objects = []
    for number, (view, contrast) in enumerate(CONTRASTS.items(), start=1):
        film = breast_phantom(700, 560, SPACING, seed=3, laterality=view[0]) * 0.7
        middle = (300.0, 350.0) if view[0] == "R" else (260.0, 350.0)
        if contrast:
            add_cluster(film, middle, SPACING, n=12, spread_mm=4, contrast=contrast)
        objects.append(
            mammogram(
                film.astype(np.float32),
                laterality=view[0],
                view=view[1:],
                spacing_mm=SPACING,
                study_uid=STUDY,
                instance_number=number,
                # One comes turned round, as some senders have it.
                orientation="h" if view == "RMLO" else "",
            )
        )
    with console_under_test(tmp_path_factory.mktemp("seen")) as node:
        receive(node, objects)
        analyze(node)
        with served(node) as address, chromium() as browser:
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            heard = complaints(page)
            page.goto(f"{address}/exams/1")
            expect(page.locator(".view[data-drawn]")).to_have_count(4, timeout=30_000)
            yield Seen(node, page, heard)


@pytest.fixture(autouse=True)
def as_it_was_opened(seen: Seen) -> None:
    seen.page.click("button[type=reset]")
    expect(seen.page.locator("#operating-point")).to_have_value("1")


def test_every_film_is_drawn(seen: Seen):
    for name in CONTRASTS:
        least, most = seen.view(name).evaluate(PIXELS)
        assert least < 20
        assert most > 100


def test_the_slider_says_which_marks_would_appear(seen: Seen):
    slider, says = seen.page.locator("#operating-point"), seen.page.locator("#point-says")
    expect(says).to_have_text("1: scores from 0.700 on, recommended")
    for point, shown in ((0, [0, 0, 1, 0]), (1, [0, 1, 1, 0]), (2, [1, 1, 1, 0])):
        slider.focus()
        slider.press("Home")
        for _ in range(point):
            slider.press("ArrowRight")
        assert [seen.marks(name) for name in CONTRASTS] == shown
        assert seen.page.locator("[data-shown]").all_text_contents() == [
            "shown" if one else "hidden" for one in shown[:3]
        ]
        expect(seen.page.locator("#marks-shown")).to_have_text(
            f"{sum(shown)} of 3 marks shown in this exam"
        )
        for name, count in zip(CONTRASTS, shown, strict=True):
            many = f"{count or 'no'} mark{'' if count == 1 else 's'}"
            says_it = many if name == "LMLO" else f"{many} of 1"
            expect(seen.view(name).locator("[data-count]")).to_have_text(says_it)
    assert says.text_content() == "2: scores from 0.500 on"


def test_marks_are_all_or_none(seen: Seen):
    seen.page.get_by_label("All", exact=True).check()
    assert [seen.marks(name) for name in CONTRASTS] == [1, 1, 1, 0]
    expect(seen.page.locator("#operating-point")).to_be_disabled()
    seen.page.get_by_label("None").check()
    assert [seen.marks(name) for name in CONTRASTS] == [0, 0, 0, 0]
    expect(seen.page.locator("#marks-shown")).to_have_text("0 of 3 marks shown in this exam")


@pytest.mark.parametrize("name", ["RCC", "LCC", "RMLO"])
def test_an_outline_lies_where_the_film_shows_its_cluster(seen: Seen, name: str):
    """Also on the film that is turned round: the brightest spot of it lies in the middle of the
    outline on the screen."""
    seen.page.get_by_label("All", exact=True).check()
    seen.page.get_by_label("Zoom all views together").uncheck()
    row = seen.page.locator("#marks-table tbody tr", has_text=name)
    row.get_by_role("button", name="Show").click()
    view = seen.view(name)
    expect(view.locator(".mark .spots circle").first).to_be_visible()
    film = view.locator("[data-film]").bounding_box()
    assert film is not None
    middle = np.array([film["width"], film["height"]]) / 2
    # The view moves until the center of the mark is in its middle.
    number = list(CONTRASTS).index(name) + 1
    answer = seen.node.browser.get(f"/api/v1/exams/1/images/{number}").json()
    (mark,) = answer["findings"]
    corners = np.array(mark["outline"])
    off = (corners.min(axis=0) + corners.max(axis=0)) / 2 - mark["center"]
    if answer["mirrored"]:
        off[0] = -off[0]

    def away() -> float:
        scale = float(view.get_attribute("data-scale") or 0)
        return float(np.hypot(*(np.array(view.evaluate(OUTLINE)) - middle - off * scale)))

    for _ in range(60):
        if away() < 2:
            break
        seen.page.wait_for_timeout(50)
    assert away() < 2
    if name == "RMLO":
        # The film lies under it as turned as the outline: there are its dots, and not beside it.
        assert view.evaluate(DOTS, list(middle)) > 15
        assert view.evaluate(DOTS, [middle[0] - 200, middle[1]]) < 15


def test_the_turned_film_says_so_and_can_be_seen_as_it_was_received(seen: Seen):
    turned = seen.view("RMLO").locator("[data-turned]")
    expect(turned).to_be_visible()
    expect(seen.view("RCC").locator("[data-turned]")).to_be_hidden()
    before = seen.view("RMLO").evaluate(OUTLINE)
    seen.page.get_by_label("Turn views so that chest walls meet").uncheck()
    expect(turned).to_be_hidden()
    assert abs(seen.view("RMLO").evaluate(OUTLINE)[0] - before[0]) > 20


def test_the_heat_map_is_laid_over_the_film_with_a_legend(seen: Seen):
    heat, legend = seen.view("RCC").locator(".heat"), seen.page.locator("#heat-legend")
    expect(legend).to_be_hidden()
    seen.page.get_by_label("Patch heat map").check()
    expect(legend).to_be_visible()
    expect(heat).to_be_visible()
    assert heat.get_attribute("href") == "/api/v1/exams/1/images/1/heat.png"
    film = seen.view("RMLO").locator("[data-film]")
    outline = seen.view("RMLO").evaluate(OUTLINE)
    film.hover(position={"x": outline[0], "y": outline[1]})
    says = seen.view("RMLO").locator("[data-score]")
    image = seen.node.browser.get("/api/v1/exams/1/images/3/patch-scores").json()
    expect(says).to_have_text(f"patch score {max(image['probability']):.3f}")
    seen.page.get_by_label("Patch heat map").uncheck()
    expect(heat).to_be_hidden()
    expect(says).to_be_hidden()


def test_the_window_is_changed_on_the_film_alone(seen: Seen):
    film = seen.view("RCC").locator(".openseadragon-canvas canvas").first
    overlay = seen.view("RCC").locator("svg.overlay")
    seen.page.get_by_label("Inverted").check()
    seen.page.get_by_label("Preset").select_option("narrow")
    shown = film.evaluate("canvas => getComputedStyle(canvas).filter")
    assert shown == "brightness(0.8) contrast(1.8) invert(1)"
    assert overlay.evaluate("svg => getComputedStyle(svg).filter") == "none"


def test_all_views_zoom_together_or_each_by_itself(seen: Seen):
    def scales() -> list[float]:
        return [float(seen.view(name).get_attribute("data-scale") or 0) for name in CONTRASTS]

    whole = scales()
    seen.page.get_by_label("RCC: closer").click()
    seen.page.wait_for_function(
        "before => [...document.querySelectorAll('.view')].every("
        "view => Number(view.dataset.scale) > before * 1.5)",
        arg=max(whole),
    )
    seen.page.click("button[data-do=fit]")
    seen.page.wait_for_function(
        "before => [...document.querySelectorAll('.view')].every("
        "view => Math.abs(Number(view.dataset.scale) - before) < 0.01)",
        arg=whole[0],
    )
    seen.page.get_by_label("Zoom all views together").uncheck()
    seen.page.get_by_label("RCC: closer").click()
    seen.page.wait_for_function(
        "before => Number(document.querySelector('.view').dataset.scale) > before * 1.5",
        arg=whole[0],
    )
    assert scales()[1:] == pytest.approx(whole[1:], abs=0.01)


def test_the_content_of_a_report_is_opened_in_its_place(seen: Seen):
    seen.page.locator(".result summary").first.click()
    expect(seen.page.get_by_text("Mammography CAD Report")).to_be_visible()
    score = seen.page.get_by_text("Certainty of Finding").first
    expect(score).to_be_hidden()
    seen.page.get_by_role("button", name="Open all").click()
    expect(score).to_be_visible()
    seen.page.get_by_role("button", name="Close all").click()
    expect(score).to_be_hidden()


def test_what_is_being_read_stays_open_when_the_state_is_refreshed(seen: Seen):
    status = seen.page.locator("#exam-status")
    status.locator(".history summary").click()
    status.evaluate("part => { part.dataset.before = 'yes'; }")
    seen.page.evaluate(
        "htmx.ajax('GET', '/exams/1/status', {target: '#exam-status', swap: 'outerHTML'})"
    )
    expect(seen.page.locator("#exam-status:not([data-before])")).to_be_visible()
    expect(status.get_by_text("Image RCC was received from MODALITY and kept.")).to_be_visible()


def test_the_browser_has_nothing_to_complain_of(seen: Seen):
    assert seen.heard == []
