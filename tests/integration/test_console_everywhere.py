"""Every page of the console in a real Chromium: light, dark, narrow, by keyboard, without scripts.

The pages are those that the application has, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from cadnode.config import default_models_folder
from cadnode.console import open_console
from cadnode.console.access import open_access
from cadnode.core.accounts import Role
from cadnode.inference.bundle import find_bundle
from cadnode.web.server import FEATURES
from tests.analyzed import analyze, receive
from tests.chromium import chromium, complaints, served
from tests.console import ConsoleUnderTest, console_under_test
from tests.integration.viewer.exam import DESTINATION, exam_objects
from tests.objects import four_views

pytestmark = pytest.mark.peers

NAME, WORD = "anna", "correct horse battery"
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()

PEER = """
[[peers]]
name = "unit"
ae_title = "MODALITY"
host = "127.0.0.1"
port = 11113
"""

NO_PAGES = {
    "/healthz",
    "/readyz",
    "/metrics",
    # Parts of pages, which take the place of what stood there.
    "/today",
    "/exams/{exam_id}/status",
    "/model/golden",
    # On to the identity provider and back.
    "/sign-in/provider",
    "/sign-in/provider/arrival",
}
EXAMPLES = {
    "/users/{name}": f"/users/{NAME}",
    "/exams/{exam_id}": "/exams/1",
    "/exams/{exam_id}/actions": "/exams/1/actions",
    "/exams/{exam_id}/results/{result_id}": "/exams/1/results/1",
    "/model/bundles/{name}/{version}": "/model/bundles/{name}/{version}",
}
"""What stands for the parameters; of the bundle only the node knows them."""

LOOKS = {
    "light": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}


@dataclass(frozen=True)
class Everywhere:
    """A served console with an admin, an exam that was read and one that is awaited."""

    node: ConsoleUnderTest
    browser: Browser
    address: str
    session: str
    """Cookies of anna, who is signed in."""

    def context(self, **options: object) -> BrowserContext:
        """A browser window in which anna is signed in."""
        state = json.loads(self.session)
        return self.browser.new_context(storage_state=state, base_url=self.address, **options)  # type: ignore[arg-type]

    def paths(self) -> list[str]:
        """An address for every page there is."""
        console = open_console(self.node.app, self.node.store)
        found = [
            route.path
            for feature in FEATURES
            for route in feature.pages(console).routes
            if isinstance(route, APIRoute) and "GET" in (route.methods or ())
        ]
        assert set(found) >= NO_PAGES | set(EXAMPLES), "a page is gone that is named here"
        spec = find_bundle(default_models_folder(), "calc-resnet50").spec
        bundle = {"name": spec.name, "version": spec.version}
        paths = [EXAMPLES.get(path, path) for path in found if path not in NO_PAGES]
        return [path.format(**bundle) for path in paths]


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everywhere]:
    with console_under_test(tmp_path_factory.mktemp("everywhere"), DESTINATION + PEER) as node:
        # Without the screenshot: no film can be made of it, and the browser would complain of that.
        receive(node, exam_objects()[:-1])
        analyze(node)
        receive(node, four_views(study_uid="2.25.7")[:1])
        open_access(node.app, node.store).add_user(NAME, Role.ADMIN, WORD, by="test")
        with served(node) as address, chromium() as browser:
            page = browser.new_page(base_url=address)
            page.goto("/")
            page.fill("#name", NAME)
            page.fill("#password", WORD)
            page.keyboard.press("Enter")
            expect(page.locator("h1")).to_have_text("Today")
            session = json.dumps(page.context.storage_state())
            page.context.close()
            yield Everywhere(node, browser, address, session)


def opened(page: Page, path: str) -> None:
    """Go there, and wait until all that comes by itself has come."""
    page.goto(path)
    for film in page.locator("[data-film]").all():
        expect(film.locator("xpath=..")).to_have_attribute("data-drawn", "yes", timeout=30_000)
    expect(page.locator(".htmx-request")).to_have_count(0)


def violations(page: Page) -> list[str]:
    """What axe-core calls serious or critical."""
    # Handed over by the debugger: the content security policy stays in force.
    page.evaluate(AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']][:3]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("look", LOOKS)
def test_no_page_breaks_anything(everywhere: Everywhere, look: str):
    context = everywhere.context(**LOOKS[look])
    page = context.new_page()
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((everywhere.address, "data:", "blob:"))
            else elsewhere.append(request.url)
        ),
    )
    heard = complaints(page)
    wrong: dict[str, list[str]] = {}
    paths = everywhere.paths()
    assert len(paths) >= 8
    for path in paths:
        opened(page, path)
        found = violations(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found.append(f"is {wide} pixels too wide")
        if page.locator("h1").count() != 1:
            found.append("has not one main heading")
        found += heard
        heard.clear()
        if found:
            wrong[path] = found
    context.close()
    assert wrong == {}
    assert elsewhere == []


def test_the_sign_in_and_a_refusal_are_as_good_as_the_pages(everywhere: Everywhere):
    for look in LOOKS.values():
        page = everywhere.browser.new_page(base_url=everywhere.address, **look)  # type: ignore[arg-type]
        page.goto("/exams")
        assert page.url.startswith(f"{everywhere.address}/sign-in")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.context.close()
    context = everywhere.context()
    page = context.new_page()
    answer = page.goto("/exams/4711")
    assert answer is not None
    assert answer.status == 404
    assert violations(page) == []
    context.close()


def tab_to(page: Page, target: Locator, *, at_most: int = 60) -> None:
    """Press Tab until `target` has the focus."""
    for _ in range(at_most):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            # Who sees has to find it.
            assert target.evaluate(
                "element => { const style = getComputedStyle(element);"
                " return style.outlineStyle !== 'none' || style.boxShadow !== 'none'; }"
            )
            return
    pytest.fail(f"Tab does not lead to {target}")


def test_signing_in_takes_a_keyboard_and_says_when_the_password_is_wrong(everywhere: Everywhere):
    page = everywhere.browser.new_page(base_url=everywhere.address)
    page.goto("/exams")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(NAME)
    page.keyboard.press("Tab")
    page.keyboard.type("not the password")
    page.keyboard.press("Enter")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("Not signed in")
    # A screen reader reads the field it is in, with what describes it.
    field = page.get_by_label("Password", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(problem.inner_text())
    page.keyboard.type(WORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Exams")
    page.context.close()


def test_the_keyboard_alone_leads_everywhere(everywhere: Everywhere):
    context = everywhere.context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    heard = complaints(page)
    opened(page, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()

    opened(page, "/")
    tab_to(page, page.get_by_role("navigation", name="Main").get_by_role("link", name="Exams"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/exams")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("#1")
    page.keyboard.press("Enter")
    expect(page.locator("#announce")).to_contain_text("1 exam")
    tab_to(page, page.get_by_role("rowheader").get_by_role("link", name="1", exact=True))
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Exam 1")

    action = page.locator("#exam-actions button[value=reanalyze]")
    tab_to(page, action)
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("Analyze again: exam 1")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(action).to_be_focused()

    tab_to(page, page.locator("input[name=marks]:checked"))
    marks = page.locator(".mark:not([hidden])")
    assert marks.count() > 0
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("None")).to_be_focused()
    expect(marks).to_have_count(0)
    assert heard == []
    context.close()


def test_without_scripts_pages_are_pages(everywhere: Everywhere):
    context = everywhere.browser.new_context(base_url=everywhere.address, java_script_enabled=False)
    page = context.new_page()
    page.goto("/exams")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password", exact=True).fill(WORD)
    page.get_by_role("button", name="Sign in").click()
    assert page.locator("h1").inner_text() == "Exams"
    page.locator("#q").fill("#1")
    page.get_by_role("button", name="Search").click()
    assert "1 exam" in page.locator("#summary").inner_text()
    page.get_by_role("rowheader").get_by_role("link", name="1", exact=True).click()
    assert page.locator("h1").inner_text().startswith("Exam 1")
    page.get_by_role("link", name="What can be done with this exam").click()
    page.get_by_role("button", name="Analyze again").click()
    assert "Analyze again: exam 1" in page.locator("main").inner_text()
    for path in everywhere.paths():
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        assert page.locator("h1").count() == 1, path
    context.close()
