"""The page of the model and its API, over a real job database."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.config.tables import ModelTable
from cadnode.console import open_console
from cadnode.console.model import DRIFT_FRESH, NodeModel
from cadnode.core.accounts import Role
from cadnode.core.curves import Curves, EpochPoint, FrocCurve, Measured, RocCurve, curves_from
from cadnode.core.errors import IllegalMove
from cadnode.core.golden import GoldenCheck
from cadnode.core.processes import ProcessFacts, ProcessRecord
from cadnode.inference.golden import Recomputed, recompute
from cadnode.storage.beats import BeatRecords
from cadnode.store import Store
from cadnode.web.access import csrf
from cadnode.web.server import create_app
from tests.scored import add_exams, day, small_bundle, weeks_of_exams


def folder_of(site: Site) -> Path:
    """Where its bundles lie."""
    folder = site.app.settings.model.folder
    assert folder is not None
    return folder


NOW = day("2026-05-27") + timedelta(hours=9)
MONDAY = day("2026-03-02")
VISIT = "a visit"
SHIPPED = Path(__file__).parents[2] / "models"

CURVES = Curves(
    title="A <b>measured</b> set",
    made=date(2026, 3, 1),
    history=(
        EpochPoint(1, 0.7, 0.6, 0.55, 0.6),
        EpochPoint(2, 0.5, None, 0.75, 0.8),
        EpochPoint(3, 0.4, 0.45, 0.8, 0.85),
    ),
    roc=RocCurve(100, 9, Measured(0.9, 0.8, 0.95), 0.5, (0.1, 0.8), ((0, 0), (0.1, 0.8), (1, 1))),
    froc=FrocCurve(
        30,
        20,
        12,
        7,
        ((0.1, 0.2), (1.0, 0.6), (3.0, 0.9)),
        ((0.5, Measured(0.2, 0.1, None)), (1.0, Measured(0.6, 0.4, 0.8))),
    ),
)


class Golden:
    """Stands in for the process that computes a golden example; it ends when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.answer = Recomputed(True, 1e-6, "Hashes right.")

    def __call__(self, folder: Path, model: ModelTable) -> Recomputed:
        assert self.go.wait(20)
        return self.answer


class Site:
    """A console with a clock that is moved by hand, and a golden example that takes its time."""

    def __init__(self, app: App, store: Store) -> None:
        self.now = NOW
        self.app = app
        self.store = store
        self.golden = Golden()
        self.model = NodeModel(app, store, clock=lambda: self.now, compute=self.golden)
        self.console = replace(open_console(app, store), model=self.model)
        self.asgi = create_app(self.console)

    def browser(self) -> TestClient:
        browser = TestClient(
            self.asgi,
            base_url="http://127.0.0.1",
            client=("127.0.0.1", 50000),
            follow_redirects=False,
        )
        browser.cookies.set("cadnode_visit", VISIT, domain="127.0.0.1", path="/")
        browser.headers[csrf.HEADER] = csrf.token_from(VISIT)
        return browser

    def program(self, role: Role) -> TestClient:
        """A program with a token of that role."""
        _, secret = self.console.access.add_token("program", role, 30, owner=None, by="test")
        browser = self.browser()
        browser.headers["Authorization"] = f"Bearer {secret}"
        return browser

    def finish_golden(self) -> None:
        """Let the process end, and wait for its thread."""
        self.golden.go.set()
        for thread in threading.enumerate():
            if thread.name == "golden":
                thread.join(20)
        self.golden.go.clear()


@contextmanager
def site_in(folder: Path, model: str = 'name = "small"\nfolder = "models"\n') -> Iterator[Site]:
    config = folder / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[model]\n{model}')
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    try:
        yield Site(app, store)
    finally:
        store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    text = json.dumps(CURVES.as_json()).encode()
    small_bundle(tmp_path / "models", more={"curves-set.json": text})
    with site_in(tmp_path) as site:
        yield site


def page(site: Site, path: str = "/model") -> str:
    answer = site.browser().get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


class TestBundle:
    def test_the_page_says_in_words_what_the_manifest_says(self, site: Site) -> None:
        said = page(site)
        for words in (
            "small 1.0.0",
            "224 x 224 pixels, 22.4 mm on a side",
            "one every 176 pixels",
            "7 x 7 cells in each patch, 3.2 mm each",
            "0.1 mm: every image is resampled to it first",
            "epochs",
            "one, two",
            "files are right",
            "made-up noise",
            "CC0",
        ):
            assert words in said

    def test_the_card_cannot_bring_tags_scripts_or_pictures(self, site: Site) -> None:
        said = page(site)
        assert "<script>alert(1)" not in said
        assert "&lt;script&gt;alert(1)" in said
        assert 'href="javascript:' not in said
        assert '<img src="https' not in said
        assert "style=" not in said, "the policy of the page forbids styles of its own"
        assert '<th scope="col">licence</th>' in said

    def test_a_file_that_was_altered_shows(self, site: Site) -> None:
        bundle = folder_of(site) / "small" / "1.0.0"
        assert site.browser().get("/api/v1/model").json()["bundle"]["whole"] is True
        (bundle / "golden.npz").write_bytes(b"other")
        (bundle / "weights-1of1.npz").unlink()
        site.now += timedelta(minutes=2)
        said = page(site)
        assert "files were altered" in said
        assert "is missing" in said
        answer = site.browser().get("/api/v1/model").json()["bundle"]
        assert answer["whole"] is False
        troubles = {file["name"]: file["trouble"] for file in answer["files"]}
        assert troubles["golden.npz"] == "is not the file this bundle was made with"
        assert troubles["MODEL_CARD.md"] == ""

    def test_a_bundle_that_cannot_be_read_leaves_a_page_that_says_so(self, site: Site) -> None:
        folder = folder_of(site)
        (folder / "small" / "1.0.0" / "manifest.toml").write_text("[model]")
        said = page(site)
        assert "exams wait" in said
        assert "E401" in said
        answer = site.browser().get("/api/v1/model")
        assert (answer.status_code, answer.json()["code"]) == (503, "E401")

    def test_every_bundle_is_listed_and_shown_with_the_one_in_force(self, site: Site) -> None:
        small_bundle(folder_of(site), "0.9.0")
        assert 'href="/model/bundles/small/0.9.0"' in page(site)
        assert "installed but not in force" in page(site, "/model/bundles/small/0.9.0")
        answer = site.browser().get("/api/v1/model").json()
        assert answer["installed"] == [
            {"name": "small", "version": "0.9.0", "in_force": False},
            {"name": "small", "version": "1.0.0", "in_force": True},
        ]
        other = site.browser().get("/api/v1/model/bundles/small/0.9.0").json()
        assert (other["version"], other["in_force"], other["curves"]) == ("0.9.0", False, [])

    @pytest.mark.parametrize("path", ["small/2.0.0", "..%2F..%2Fetc/passwd", "small/.."])
    def test_a_bundle_that_is_not_installed_is_not_found(self, site: Site, path: str) -> None:
        for root in ("/model/bundles/", "/api/v1/model/bundles/"):
            assert site.browser().get(root + path).status_code == 404

    def test_what_the_worker_has_loaded_is_compared_with_what_is_in_force(self, site: Site) -> None:
        assert "No worker has said" in page(site)
        manifest = site.browser().get("/api/v1/model").json()["bundle"]["manifest_sha256"]
        beats = BeatRecords(site.store.database)
        facts = ProcessFacts(
            model="small",
            model_version="1.0.0",
            model_sha256=manifest,
            device="CPU",
            precision="float32",
            chosen="the quickest",
        )
        worker = ProcessRecord("w", "work", "host", 7, NOW, NOW, facts)
        beats.beat(worker)
        assert "has loaded small 1.0.0, on CPU in float32 (the quickest)." in page(site)
        assert "restart the node" not in page(site)
        beats.beat(replace(worker, facts=replace(facts, model_sha256="0" * 64)))
        assert "restart the node" in page(site)
        site.now += timedelta(minutes=5)
        assert "not seen" in page(site)


class TestCurves:
    def test_curves_of_the_bundle_are_drawn_with_their_numbers(self, site: Site) -> None:
        said = page(site)
        assert "A &lt;b&gt;measured&lt;/b&gt; set" in said
        for title in ("Loss", "ROC of single patches", "FROC of whole images"):
            assert f"<figcaption>{title}</figcaption>" in said
        assert "100 patches of 9 patients, area 0.900 (0.800 to 0.950)" in said
        assert "false marks counted on the 20 normal ones; dots" in said
        assert "0.200 (0.100 to -)" in said
        assert said.count('role="img"') == said.count("<desc ")

    def test_a_bundle_without_curves_says_how_to_keep_some(self, site: Site) -> None:
        small_bundle(folder_of(site), "0.9.0")
        said = page(site, "/model/bundles/small/0.9.0")
        assert "cadnode evaluate --into-bundle" in said

    def test_curves_that_cannot_be_read_are_a_problem_of_their_own(self, site: Site) -> None:
        folder = folder_of(site)
        small_bundle(folder, "2.0.0", {"curves-bad.json": b'{"title": "x"}'})
        assert "curves-bad.json: not the curves of a model" in unescape(page(site))

    def test_curves_read_back_as_they_were_written(self) -> None:
        assert curves_from(json.loads(json.dumps(CURVES.as_json()))) == CURVES

    @pytest.mark.parametrize("wrong", [{}, {"title": "x"}, {"title": "x", "made": 3}])
    def test_other_json_is_not_taken_for_curves(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not the curves"):
            curves_from(wrong)


class TestDrift:
    def test_without_an_exam_there_is_nothing_to_show(self, site: Site) -> None:
        said = page(site)
        assert "No complete week" in said
        assert 'class="spread"' not in said

    def test_without_a_reference_the_weeks_are_shown_all_the_same(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 12, 5))
        said = page(site)
        assert "There is no reference to compare with" in said
        assert 'class="spread"' in said

    def test_a_reference_made_on_the_page_is_what_later_weeks_are_compared_with(
        self, site: Site
    ) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 11, 60))
        last = weeks_of_exams(MONDAY + timedelta(weeks=11), 1, 60, moved=1.0, seed=2)
        add_exams(site.store.database, last)
        page(site)
        form = {"first": "2026-03-02", "last": "2026-04-12", "note": "accepted <by> all"}
        answer = site.browser().post("/model/reference", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/model#drift")
        said = unescape(page(site))
        assert "the model's answers have moved" in said
        assert "accepted <by> all; made by localhost" in said
        assert "accepted <by>" not in page(site), "it is text, not a tag"
        drift = site.browser().get("/api/v1/model/drift").json()
        assert (drift["state"], drift["moved"]) == ("moved", True)
        assert drift["judged"]["first"] == "2026-05-18"
        assert len(drift["weeks"]) == len(drift["by_week"]) == 26

    def test_empty_days_of_the_form_are_the_whole_time(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 4, 60))
        form = {"first": "", "last": "", "note": ""}
        assert site.browser().post("/model/reference", data=form).status_code == 303
        assert "240 exams" in page(site)

    def test_too_few_exams_are_refused_in_words(self, site: Site) -> None:
        answer = site.browser().post("/model/reference", data={})
        assert answer.status_code == 422
        assert "a reference needs 200" in answer.text
        answer = site.browser().post("/api/v1/model/reference", json={})
        assert (answer.status_code, answer.json()["code"]) == (422, "E101")

    def test_a_reference_is_replaced_only_when_that_is_said(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 4, 60))
        post = site.browser().post
        assert post("/api/v1/model/reference", json={"note": "x"}).status_code == 201
        assert post("/api/v1/model/reference", json={}).status_code == 422
        made = post("/api/v1/model/reference", json={"replace": True})
        assert (made.status_code, made.json()["exams"]) == (201, 240)

    def test_the_verdict_is_asked_for_again_after_ten_minutes(self, site: Site) -> None:
        assert site.model.drift().weeks[-1].exams == 0
        add_exams(site.store.database, weeks_of_exams(MONDAY + timedelta(weeks=11), 1, 7))
        assert site.model.drift().weeks[-1].exams == 0
        site.now += DRIFT_FRESH
        assert site.model.drift().weeks[-1].exams == 7

    def test_a_broken_reference_leaves_the_rest_of_the_page(self, site: Site) -> None:
        site.app.settings.node.data_dir.mkdir(exist_ok=True)
        (site.app.settings.node.data_dir / "reference-small-1.0.0.toml").write_text("x")
        said = page(site)
        assert "E101" in said
        assert "Its files" in said


class TestGolden:
    def test_a_check_runs_beside_and_is_kept_with_who_asked(self, site: Site) -> None:
        assert "Nobody has had it computed" in page(site)
        answer = site.browser().post("/model/golden-check")
        assert (answer.status_code, answer.headers["location"]) == (303, "/model#golden")
        assert "Being computed for localhost" in page(site)
        assert 'hx-trigger="every 2s"' in page(site, "/model/golden")
        site.now += timedelta(seconds=12)
        site.finish_golden()
        said = page(site, "/model/golden")
        assert "hx-trigger" not in said
        assert '<div id="announce" hx-swap-oob="innerHTML">The golden example is right.' in said
        assert 'hx-swap-oob="innerHTML"' not in page(site)
        (check,) = site.model.golden().checks
        assert check == GoldenCheck(
            NOW, "localhost", "small 1.0.0", True, 1e-6, "Hashes right.", 12.0
        )

    def test_a_second_check_waits_for_the_first(self, site: Site) -> None:
        post = site.browser().post
        assert post("/api/v1/model/golden-check").status_code == 202
        again = post("/api/v1/model/golden-check")
        assert again.status_code == 409
        site.finish_golden()
        assert post("/api/v1/model/golden-check").status_code == 202
        site.finish_golden()
        state = site.browser().get("/api/v1/model/golden-check").json()
        assert state["running_since"] is None
        assert len(state["checks"]) == 2

    def test_a_wrong_score_shows(self, site: Site) -> None:
        site.golden.answer = Recomputed(False, None, "E401 a golden score is off by 0.2.")
        site.model.check_golden("anna")
        with pytest.raises(IllegalMove, match="for anna"):
            site.model.check_golden("berta")
        site.finish_golden()
        assert '<span class="badge bad">wrong</span> E401 a golden score' in page(site)

    def test_the_shipped_example_is_computed_in_another_process(self) -> None:
        found = recompute(
            next((SHIPPED / "calc-resnet50").iterdir()), device="cpu", precision="float32"
        )
        assert found.well, found.text
        assert found.difference is not None
        assert found.difference < 1e-3
        assert "on CPU" in found.text

    def test_a_process_that_takes_too_long_is_ended(self) -> None:
        found = recompute(SHIPPED, device="cpu", precision="auto", seconds=0.01)
        assert (found.well, found.text) == (False, "There was no answer within 0.01 seconds.")

    def test_a_process_that_cannot_load_the_bundle_says_why(self, tmp_path: Path) -> None:
        folder = small_bundle(tmp_path)
        (folder / "golden.npz").unlink()
        found = recompute(folder, device="cpu", precision="auto")
        assert not found.well
        assert "golden.npz is missing" in found.text


@pytest.mark.parametrize(
    ("role", "golden", "reference"),
    [(Role.VIEWER, 403, 403), (Role.OPERATOR, 202, 403), (Role.ADMIN, 202, 422)],
)
def test_who_may_do_what(site: Site, role: Role, golden: int, reference: int) -> None:
    program = site.program(role)
    for path in ("", "/drift", "/golden-check", "/bundles/small/1.0.0"):
        assert program.get(f"/api/v1/model{path}").status_code == 200
    said = program.get("/model").text
    assert ("Compute it now" in said) == (role >= Role.OPERATOR)
    assert ("Make the reference" in said) == (role >= Role.ADMIN)
    assert program.post("/api/v1/model/golden-check").status_code == golden
    site.finish_golden()
    assert program.post("/api/v1/model/reference", json={}).status_code == reference


def test_the_console_never_loads_a_framework() -> None:
    told = "import sys, cadnode.console, cadnode.web.server; print(sorted({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
