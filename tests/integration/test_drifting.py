"""Scores and marks by week out of a real job database, the site's reference, and the verdict."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cadnode.app import App
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.core.drift import DriftState
from cadnode.core.errors import ConfigError, ModelUnfit
from cadnode.core.exam import ImageState
from cadnode.core.reasons import Reason
from cadnode.core.toml_text import to_toml
from cadnode.drifting import (
    bundle_in_force,
    drift_verdict,
    last_mondays,
    make_reference,
    reference_of,
)
from cadnode.storage.scores import ScoreRecords
from cadnode.store import Store
from tests.contract.exams import FINDING, PATCH_MAP, T0, claim, new_image
from tests.scored import MODEL, ScoredExam, add_exams, day, small_bundle, weeks_of_exams

EDGES = (0.25, 0.5, 0.75)
MONDAY = day("2026-03-02")
FIRST = MONDAY.date()
NOW = day("2026-05-27")


@dataclass(frozen=True)
class Site:
    app: App
    store: Store
    config: Path

    @property
    def scores(self) -> ScoreRecords:
        return ScoreRecords(self.store.database)

    def week(self, monday: date = FIRST, model: str = MODEL):
        (found,) = self.scores.weeks(model, [monday], edges=EDGES, operating_point=1)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    small_bundle(tmp_path / "models")
    config = tmp_path / "cadnode.toml"
    config.write_text('[node]\ndata_dir = "data"\n[model]\nname = "small"\nfolder = "models"\n')
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    yield Site(app, store, config)
    store.close()


class TestWeeks:
    def test_the_highest_patch_score_of_an_image_is_kept_when_it_is_read(self, site: Site) -> None:
        store = site.store.exams
        store.accept(new_image(), now=T0)
        exam = claim(store)
        store.record_image(
            exam,
            1,
            state=ImageState.ANALYZED,
            findings=[FINDING],
            model=MODEL,
            patch_map=PATCH_MAP,
            now=T0,
        )
        monday = T0.date() - timedelta(days=T0.weekday())
        assert site.week(monday).score_counts == (0, 0, 0, 1)
        assert site.week(monday).marks_counts == (0, 1, 0, 0, 0, 0)
        (score,) = site.scores.top_scores(MODEL, T0.date(), T0.date())
        assert score == pytest.approx(0.9999)

        store.record_image(
            exam, 1, state=ImageState.SET_ASIDE, reason=Reason.PRESENTATION_PREFERRED, now=T0
        )
        assert site.week(monday).images == 0, (
            "an image that was set aside afterwards counts no more"
        )

    def test_scores_are_counted_by_bin_and_marks_by_exam(self, site: Site) -> None:
        add_exams(
            site.store.database,
            [
                ScoredExam(MONDAY, [0.1, 0.25, 0.5, 0.75], [0, 1, 1]),
                ScoredExam(MONDAY, [0.2, 0.3]),
                ScoredExam(MONDAY, [0.9], [1] * 9),
            ],
        )
        found = site.week()
        assert (found.exams, found.images) == (3, 7)
        assert found.score_counts == (2, 2, 1, 2), "an edge belongs to the bin above it"
        assert found.marks_counts == (1, 0, 0, 1, 0, 1)

    def test_a_mark_below_the_operating_point_is_none(self, site: Site) -> None:
        add_exams(site.store.database, [ScoredExam(MONDAY, [0.9], [2, 2, 1])])
        assert site.week().marks_counts == (0, 1, 0, 0, 0, 0)

    def test_a_week_ends_on_sunday_at_midnight_utc(self, site: Site) -> None:
        tick, week = timedelta(microseconds=1), timedelta(weeks=1)
        add_exams(
            site.store.database,
            [
                ScoredExam(MONDAY - tick, [0.1]),
                ScoredExam(MONDAY, [0.3]),
                ScoredExam(MONDAY + week - tick, [0.6]),
                ScoredExam(MONDAY + week, [0.9]),
            ],
        )
        assert site.week().score_counts == (0, 1, 1, 0)

    def test_each_model_counts_for_itself(self, site: Site) -> None:
        add_exams(
            site.store.database,
            [ScoredExam(MONDAY, [0.1]), ScoredExam(MONDAY, [0.9], [1], model="small 0.9.0")],
        )
        assert site.week().score_counts == (1, 0, 0, 0)
        assert site.week(model="small 0.9.0").score_counts == (0, 0, 0, 1)

    def test_a_study_with_a_late_image_is_one_exam(self, site: Site) -> None:
        add_exams(
            site.store.database,
            [
                ScoredExam(MONDAY, [0.1, 0.2, 0.3], [1], study="1.2.7"),
                ScoredExam(MONDAY, [0.4], [1, 1], study="1.2.7"),
            ],
        )
        found = site.week()
        assert (found.exams, found.images) == (1, 4)
        assert found.marks_counts == (0, 0, 0, 1, 0, 0)

    def test_images_read_before_scores_were_kept_do_not_count(self, site: Site) -> None:
        exam = ScoredExam(MONDAY, [None])  # type: ignore[list-item]
        add_exams(site.store.database, [exam])
        assert (site.week().exams, site.week().images) == (0, 0)
        assert site.scores.received_span(MODEL) is None

    def test_one_bin_holds_everything(self, site: Site) -> None:
        add_exams(site.store.database, [ScoredExam(MONDAY, [0.1, 0.9])])
        (found,) = site.scores.weeks(MODEL, [MONDAY.date()], edges=(), operating_point=1)
        assert found.score_counts == (2,)

    def test_a_week_is_read_from_its_index(self, site: Site) -> None:
        with site.store.database.read() as connection:
            plan = connection.exec_driver_sql(
                "EXPLAIN QUERY PLAN SELECT top_score FROM images WHERE model = 'm'"
                " AND received_at >= '2026-01-01' AND received_at < '2026-01-08'"
            ).all()
        assert "COVERING INDEX ix_images_model_received_at_job_id_top_score" in str(plan)


def test_only_complete_weeks_are_looked_at() -> None:
    monday = date(2026, 5, 25)
    for now in (day("2026-05-25"), day("2026-05-31") + timedelta(hours=23)):
        assert last_mondays(now, 2) == [monday - timedelta(weeks=2), monday - timedelta(weeks=1)]


class TestReference:
    def test_a_site_makes_its_own_of_a_period(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 3, 100))
        first, last = date(2026, 3, 2), date(2026, 3, 15)
        kept = make_reference(
            site.app, site.store, first=first, last=last, note="accepted", now=NOW
        )
        assert (kept.reference.exams, kept.reference.images) == (200, 800)
        assert kept.reference.model == MODEL
        assert set(kept.reference.score_counts) == {40}
        assert "2026-03-02 to 2026-03-15; accepted" in kept.reference.source
        again = reference_of(site.app, bundle_in_force(site.app))
        assert again == kept
        assert kept.path == site.app.settings.node.data_dir / "reference-small-1.0.0.toml"

    def test_the_whole_time_before_today_is_the_period_unless_one_is_given(
        self, site: Site
    ) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 2, 110))
        add_exams(site.store.database, [ScoredExam(NOW, [0.5])])
        kept = make_reference(site.app, site.store, now=NOW)
        assert kept.reference.exams == 220, "today is not over yet"

    def test_too_few_exams_make_none(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 1, 199))
        with pytest.raises(ConfigError, match="needs 200"):
            make_reference(site.app, site.store, now=NOW)
        assert reference_of(site.app, bundle_in_force(site.app)) is None

    def test_no_exam_at_all_makes_none(self, site: Site) -> None:
        with pytest.raises(ConfigError, match="0 exams read by"):
            make_reference(site.app, site.store, now=NOW)

    @pytest.mark.parametrize("first", [date.min, date(2026, 3, 2)])
    def test_days_far_away_do_no_harm(self, site: Site, first: date) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 3, 100))
        kept = make_reference(site.app, site.store, first=first, last=date.max, now=NOW)
        assert kept.reference.exams == 300

    @pytest.mark.parametrize("last", [date.min, date.max, None])
    def test_a_period_that_has_no_day_makes_none(self, site: Site, last: date | None) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 3, 100))
        with pytest.raises(ConfigError, match="0 exams"):
            make_reference(site.app, site.store, first=date.max, last=last, now=NOW)

    def test_what_was_accepted_is_replaced_only_on_purpose(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 4, 100))
        before = make_reference(site.app, site.store, now=NOW)
        with pytest.raises(ConfigError, match="already"):
            make_reference(site.app, site.store, first=date(2026, 3, 9), now=NOW)
        assert reference_of(site.app, bundle_in_force(site.app)) == before
        after = make_reference(site.app, site.store, first=date(2026, 3, 9), replace=True, now=NOW)
        assert after.reference.exams == 300

    def test_the_one_in_the_manifest_serves_until_the_site_has_its_own(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 3, 100))
        own = make_reference(site.app, site.store, now=NOW)
        assert own.path is not None
        shipped = replace(own.reference, source="the makers")
        own.path.unlink()
        manifest = bundle_in_force(site.app).folder / "manifest.toml"
        with manifest.open("a") as file:
            file.write(to_toml({"reference": shipped.as_table()}))
        found = reference_of(site.app, bundle_in_force(site.app))
        assert found is not None
        assert (found.path, found.reference) == (None, shipped)
        make_reference(site.app, site.store, now=NOW)
        assert reference_of(site.app, bundle_in_force(site.app)) == own

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (("small 1.0.0", "small 0.9.0"), "small 0.9.0"),
            (("operating_point = 1", "operating_point = 0"), "operating point 0"),
            (("exams = 300", "exams = 301"), "hold together"),
            (("[reference]", "reference"), "reference-small"),
            (("[reference]", "[other]"), "does not say"),
        ],
    )
    def test_a_reference_that_does_not_fit_is_refused_with_its_name(
        self, site: Site, change: tuple[str, str], said: str
    ) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 3, 100))
        path = make_reference(site.app, site.store, now=NOW).path
        assert path is not None
        path.write_text(path.read_text().replace(*change))
        with pytest.raises(ConfigError, match=r"reference-small-1\.0\.0\.toml") as refused:
            drift_verdict(site.app, site.store, now=NOW)
        assert said in str(refused.value)

    def test_a_manifest_with_a_broken_reference_is_unfit(self, site: Site) -> None:
        with (bundle_in_force(site.app).folder / "manifest.toml").open("a") as file:
            file.write('\n[reference]\nmodel = "small 1.0.0"\n')
        with pytest.raises(ModelUnfit, match="does not say"):
            drift_verdict(site.app, site.store, now=NOW)


class TestVerdict:
    def test_weeks_like_the_reference_are_steady(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 12, 60))
        make_reference(site.app, site.store, last=date(2026, 4, 12), now=NOW)
        verdict = drift_verdict(site.app, site.store, now=NOW)
        assert verdict.state is DriftState.STEADY
        assert [week.exams for week in verdict.weeks] == [0] * 4 + [60] * 12

    def test_weeks_that_have_moved_are_found(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 11, 60))
        last = weeks_of_exams(MONDAY + timedelta(weeks=11), 1, 60, moved=1.0, seed=2)
        add_exams(site.store.database, last)
        make_reference(site.app, site.store, last=date(2026, 4, 12), now=NOW)
        verdict = drift_verdict(site.app, site.store, now=NOW)
        assert verdict.state is DriftState.MOVED
        assert verdict.judged is not None
        assert verdict.judged.first == date(2026, 5, 18)

    def test_without_a_reference_the_weeks_are_shown_in_plain_bins(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 12, 5))
        verdict = drift_verdict(site.app, site.store, now=NOW)
        assert verdict.state is DriftState.NO_REFERENCE
        assert len(verdict.weeks[-1].score_counts) == len(verdict.score_edges) + 1 == 20


class TestCommands:
    def run(self, site: Site, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["model", *arguments, "--config", str(site.config)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout

    def test_a_reference_is_made_and_shown(self, site: Site) -> None:
        add_exams(site.store.database, weeks_of_exams(MONDAY, 3, 100))
        arguments = ("reference", "--from-database", "--since", "2026-03-02", "--note", "all well")
        status, said = self.run(site, *arguments)
        assert status == 0
        assert "small 1.0.0: 300 exams" in said
        status, shown = self.run(site, "reference", "--json")
        assert status == 0
        path = Path(json.loads(shown)["where"])
        assert tomllib.loads(path.read_text())["reference"]["exams"] == 300

    def test_drift_ends_with_status_1_when_it_has_moved(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cadnode.cli.model.utc_now", lambda: NOW)
        add_exams(site.store.database, weeks_of_exams(MONDAY, 11, 60))
        self.run(site, "reference", "--from-database")
        status, said = self.run(site, "drift")
        assert status == 0
        assert "steady" in said
        last = weeks_of_exams(MONDAY + timedelta(weeks=11), 1, 60, moved=1.0, seed=2)
        add_exams(site.store.database, last)
        status, said = self.run(site, "drift", "--json")
        assert status == 1
        assert json.loads(said)["state"] == "moved"
        status, said = self.run(site, "drift")
        assert (status, "2026-05-18  60" in said) == (1, True)

    def test_options_for_making_one_are_refused_when_none_is_made(self, site: Site) -> None:
        status, _ = self.run(site, "reference", "--note", "x")
        assert status == 2
