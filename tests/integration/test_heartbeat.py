"""A process says that it is there; one that is killed is missed after 45 seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.core.errors import ModelUnfit
from cadnode.core.metrics import NoMetrics
from cadnode.core.model import FLOAT32, SCREENED
from cadnode.core.processes import ProcessFacts, ProcessRecord, seen
from cadnode.heartbeat import Heart, Meter, Vitals, settings_hash
from cadnode.metrics.ports import MeteredClassifier
from cadnode.storage.beats import BeatRecords
from cadnode.store import Store
from tests.contract.fake_classifier import FakeClassifier

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "cadnode.toml"
    file.write_text('[node]\ndata_dir = "data"\n')
    return file


@pytest.fixture
def app(config: Path) -> App:
    return App(load_settings(config, {}))


@pytest.fixture
def store(app: App) -> Iterator[Store]:
    opened = app.open_store(create=True)
    yield opened
    opened.close()


@pytest.fixture
def beats(store: Store) -> BeatRecords:
    return BeatRecords(store.database)


def beat(name: str, at: datetime, *, host: str = "here", process: str = "") -> ProcessRecord:
    facts = ProcessFacts(version="1", model="calc", patches=7, patches_per_second=2.5)
    return ProcessRecord(process or f"{name}-{host}", name, host, 1, T0, at, facts)


def test_a_beat_is_one_row_that_moves_with_the_time(beats: BeatRecords):
    beats.beat(beat("work", T0))
    beats.beat(beat("work", T0 + 10 * SECOND))
    (record,) = beats.processes()
    assert record == beat("work", T0 + 10 * SECOND)


def test_a_process_that_ends_is_not_missed(beats: BeatRecords):
    beats.beat(beat("work", T0))
    beats.end("work-here")
    assert beats.processes() == []


def test_a_killed_process_stays_to_be_missed_until_another_takes_its_place(beats: BeatRecords):
    beats.beat(beat("work", T0, process="killed"))
    beats.beat(beat("work", T0 + 44 * SECOND, process="next"))
    assert len(beats.processes()) == 2
    assert len(seen(beats.processes(), "work", T0 + 44 * SECOND)) == 2
    beats.beat(beat("work", T0 + 54 * SECOND, process="next"))
    assert [record.id for record in beats.processes()] == ["next"]


def test_a_process_of_another_host_is_missed_for_a_day(beats: BeatRecords):
    beats.beat(beat("work", T0, host="other"))
    beats.beat(beat("work", T0 + timedelta(days=1)))
    assert len(beats.processes()) == 2
    assert len(seen(beats.processes(), "work", T0 + timedelta(days=1))) == 1
    beats.beat(beat("work", T0 + timedelta(days=1) + SECOND))
    assert [record.host for record in beats.processes()] == ["here"]


def test_a_process_whose_clock_was_set_back_is_not_there_for_ever(beats: BeatRecords):
    beats.beat(beat("work", T0 + timedelta(hours=5), process="killed"))
    assert not seen(beats.processes(), "work", T0)
    beats.beat(beat("work", T0, process="next"))
    assert [record.id for record in beats.processes()] == ["next"]


def test_facts_of_another_version_are_passed_over():
    facts = ProcessFacts(version="2", model="calc").as_json() | {"colour": "blue"}
    del facts["patches"]
    assert ProcessFacts.from_json(facts) == ProcessFacts(version="2", model="calc")


def test_a_heart_beats_at_once_and_leaves_nothing_behind(store: Store, beats: BeatRecords):
    heart = Heart("work", store.database, facts=lambda: ProcessFacts("1"), clock=lambda: T0)
    heart.beat()
    (record,) = beats.processes()
    assert (record.name, record.started_at, record.facts.version) == ("work", T0, "1")
    heart.start()
    heart.stop(seconds=30)
    assert beats.processes() == []


KILLED = """
import sys
from pathlib import Path
from cadnode.app import App
from cadnode.config import load_settings
from cadnode.heartbeat import open_heart
app = App(load_settings(Path(sys.argv[1]), {}))
store = app.open_store()
heart = open_heart(app, store, "receive")
while not heart._records.processes(): pass
print("beats", flush=True)
sys.stdin.read()
"""


def test_a_process_that_was_killed_is_seen_for_45_seconds_and_not_longer(
    config: Path, beats: BeatRecords
):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdin
    with process.stdout, process.stdin:
        assert process.stdout.readline() == b"beats\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    (record,) = beats.processes()
    assert record.pid == process.pid
    assert seen([record], "receive", record.beat_at + 45 * SECOND)
    assert not seen([record], "receive", record.beat_at + 45 * SECOND + timedelta(microseconds=1))


def test_patches_a_second_are_those_of_the_last_five_minutes_while_it_computed():
    now = 0.0
    meter = Meter(clock=lambda: now)
    assert meter.patches_per_second is None
    meter.note(100, 10.0)
    now = 200.0
    meter.note(40, 2.0)
    assert meter.patches_per_second == pytest.approx(140 / 12)
    now = 301.0
    assert meter.patches_per_second == pytest.approx(20)
    now = 501.0
    assert meter.patches_per_second is None
    assert (meter.patches, meter.seconds) == (140, 12.0)


def test_what_a_model_scores_is_counted_and_the_same():
    meter, fake = Meter(), FakeClassifier()
    counted = MeteredClassifier(fake, NoMetrics(), meter.note)
    patches = np.random.default_rng(1).uniform(0, 200, (3, 224, 224)).astype(np.float32)
    scores = counted.classify(patches)
    np.testing.assert_array_equal(scores.probability, fake.classify(patches).probability)
    assert meter.patches == 3
    assert meter.seconds > 0
    assert (counted.spec, counted.runs_on) == (fake.spec, fake.runs_on)


def test_a_worker_names_its_model_and_what_moved_and_why_it_has_none(config: Path, app: App):
    now, asked = 0.0, list[float]()

    def drift() -> str:
        asked.append(now)
        if len(asked) == 2:
            raise ModelUnfit("the manifest is being replaced")
        return "Scores differ." if len(asked) == 1 else ""

    vitals = Vitals(app, drift=drift, clock=lambda: now)
    assert (vitals.facts().model, vitals.facts().drift) == (None, "")
    spec = vitals.classifier().spec
    facts = vitals.facts()
    assert (facts.model, facts.model_version, facts.problem) == (spec.name, spec.version, "")
    assert len(facts.model_sha256 or "") == 64
    assert facts.device
    assert facts.precision in {FLOAT32, *SCREENED}
    assert "quickest" in facts.chosen
    assert facts.drift == "Scores differ."
    now = 899.0
    assert vitals.facts().drift == "Scores differ."
    now = 900.0
    assert vitals.facts().drift == "Scores differ."
    now = 1800.0
    assert vitals.facts().drift == ""
    assert asked == [0.0, 900.0, 1800.0]
    config.write_text('[node]\ndata_dir = "data"\n[model]\nname = "none"\n')
    unfit = Vitals(App(load_settings(config, {})))
    with pytest.raises(ModelUnfit):
        unfit.classifier()
    assert "no model none in" in unfit.facts().problem


def test_two_processes_with_other_settings_say_so_and_secrets_do_not_count(config: Path):
    def hash_with(more: str) -> str:
        config.write_text(f'[node]\ndata_dir = "data"\n{more}')
        return settings_hash(load_settings(config, {}))

    assert hash_with("") == hash_with("")
    assert hash_with("") != hash_with("port = 7\n")
    url = '[database]\nurl = "postgresql://node:{}@db/cadnode"\n'
    assert hash_with(url.format("one")) == hash_with(url.format("two"))
