"""/healthz, /readyz and /metrics of the real console over a real job database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import gethostname

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.console import open_console
from cadnode.core import metrics as m
from cadnode.core.accounts import Role
from cadnode.core.breaker import BreakerRules, LineEvent
from cadnode.core.metrics import Counter
from cadnode.core.processes import RECEIVE, WEB, WORK, ProcessFacts, ProcessRecord
from cadnode.metrics.recording import Recording
from cadnode.storage.beats import BeatRecords
from cadnode.web import health, today
from cadnode.web.server import create_app
from tests.console import ConsoleUnderTest
from tests.contract.exams import new_image
from tests.peers import READY_WITHIN, free_port, require, running

ROOT = Path(__file__).parents[2]
DESTINATIONS = "".join(
    f'[[destinations]]\nname = "{name}"\nae_title = "A"\nhost = "127.0.0.1"\nport = 104\n'
    for name in ("pacs", "ws")
)
PATHS = ("/healthz", "/readyz", "/metrics")
FIT = ProcessFacts(model="calc", model_version="1.0")


@contextmanager
def console_under_test(folder: Path, extra: str) -> Iterator[ConsoleUnderTest]:
    """A node that is not running, and somebody on the same machine."""
    config = folder / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[retention]\nreserve_mb = 1\n{extra}')
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    console = create_app(open_console(app, store), [health, today])
    with TestClient(console, base_url="http://127.0.0.1", client=("127.0.0.1", 5)) as browser:
        yield ConsoleUnderTest(app, store, app.spool(), browser)
    store.close()


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path, DESTINATIONS) as found:
        yield found


def beat(
    console: ConsoleUnderTest,
    name: str,
    facts: ProcessFacts = FIT,
    *,
    ago: timedelta = timedelta(),
    host: str = "elsewhere",
    pid: int | None = None,
) -> None:
    pid = os.getpid() if pid is None else pid
    at = datetime.now(UTC) - ago
    record = ProcessRecord(f"{name}-{host}", name, host, pid, at - timedelta(hours=1), at, facts)
    BeatRecords(console.store.database).beat(record)


def silence(console: ConsoleUnderTest, destination: str) -> None:
    for _ in range(3):
        console.store.exams.note_line(
            destination,
            LineEvent.SILENT,
            error="no connection",
            jitter=1.0,
            rules=BreakerRules(),
            give_up_after=timedelta(days=3),
            now=datetime.now(UTC),
        )


@contextmanager
def asked_from(console: ConsoleUnderTest, address: str) -> Iterator[TestClient]:
    """A client on another machine."""
    app = create_app(open_console(console.app, console.store), [health])
    with TestClient(app, base_url="http://127.0.0.1", client=(address, 50000)) as client:
        yield client


def wait_for_prometheus(url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while httpx.get(f"{url}/-/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fresh(console: ConsoleUnderTest):
    """What /readyz says now, whatever was answered a moment ago."""
    with asked_from(console, "127.0.0.1") as client:
        return client.get("/readyz")


def samples(text: str) -> dict[str, float]:
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metrics_of(console: ConsoleUnderTest) -> dict[str, float]:
    with asked_from(console, "127.0.0.1") as client:
        return samples(client.get("/metrics").text)


class TestReadiness:
    def test_a_process_that_answers_is_alive_whatever_else_is_wrong(self, console):
        answer = console.browser.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"alive": True})

    def test_a_node_with_all_its_processes_is_ready(self, console):
        beat(console, RECEIVE)
        beat(console, WORK)
        answer = fresh(console)
        assert answer.status_code == 200
        assert answer.json() == {
            "ready": True,
            "abilities": {
                "receive": {"ready": True, "reason": ""},
                "analyze": {"ready": True, "reason": "calc 1.0"},
                "deliver": {"ready": True, "reason": ""},
            },
        }

    @pytest.mark.parametrize(
        ("ago", "ready"), [(timedelta(seconds=30), True), (timedelta(seconds=46), False)]
    )
    def test_a_worker_that_has_not_been_heard_of_is_missed(self, console, ago, ready):
        beat(console, RECEIVE)
        beat(console, WORK, ago=ago)
        answer = fresh(console)
        assert answer.json()["abilities"]["receive"]["ready"]
        for ability in ("analyze", "deliver"):
            assert answer.json()["abilities"][ability]["ready"] is ready
        assert answer.status_code == (200 if ready else 503)

    def test_a_worker_of_this_machine_that_died_is_missed_at_once(self, console):
        beat(console, RECEIVE)
        beat(console, WORK, host=gethostname())
        alive = Recording(console.app.metrics_folder, WORK)
        assert fresh(console).status_code == 200
        alive.close()
        answer = fresh(console)
        assert answer.json()["abilities"]["analyze"] == {
            "ready": False,
            "reason": "`cadnode work` is not seen",
        }

    def test_one_that_takes_its_place_is_seen_only_when_it_says_so_itself(self, console):
        beat(console, RECEIVE)
        beat(console, WORK, host=gethostname(), pid=1)
        Recording(console.app.metrics_folder, WORK)
        assert not fresh(console).json()["abilities"]["analyze"]["ready"]
        beat(console, WORK, host="elsewhere")
        assert fresh(console).json()["abilities"]["analyze"]["ready"]

    def test_a_model_that_is_unfit_or_not_loaded_yet_cannot_analyze(self, console):
        beat(console, RECEIVE)
        beat(console, WORK, ProcessFacts(problem="E401 the weights are missing"))
        said = fresh(console).json()["abilities"]
        assert said["analyze"] == {"ready": False, "reason": "E401 the weights are missing"}
        assert said["deliver"]["ready"]
        beat(console, WORK, ProcessFacts())
        assert (
            fresh(console).json()["abilities"]["analyze"]["reason"] == "the model is being loaded"
        )

    def test_each_lane_is_asked_of_the_processes_that_work_in_it(self, console):
        beat(console, RECEIVE)
        beat(console, WORK, replace(FIT, model=None, lanes=("delivery", "housekeeping")))
        said = fresh(console).json()["abilities"]
        assert said["analyze"] == {"ready": False, "reason": "no process that analyzes is seen"}
        assert said["deliver"]["ready"]
        beat(console, WORK, replace(FIT, lanes=("analysis",)), host="gpu")
        said = fresh(console).json()["abilities"]
        assert said["analyze"] == {"ready": True, "reason": "calc 1.0"}

    def test_one_destination_that_is_down_is_worth_knowing_all_of_them_are_not_ready(self, console):
        beat(console, RECEIVE)
        beat(console, WORK)
        silence(console, "pacs")
        answer = fresh(console)
        assert answer.status_code == 200
        assert answer.json()["abilities"]["deliver"]["reason"] == "no answer from pacs"
        silence(console, "ws")
        answer = fresh(console)
        assert answer.status_code == 503
        assert answer.json()["abilities"]["deliver"]["reason"] == "no answer from pacs, ws"

    def test_a_full_disk_cannot_receive(self, tmp_path: Path):
        with console_under_test(tmp_path, "") as console:
            beat(console, RECEIVE)
            beat(console, WORK)
            table = console.app.settings.retention.model_copy(update={"reserve_mb": 1 << 40})
            console.app.settings = console.app.settings.model_copy(update={"retention": table})
            said = fresh(console).json()["abilities"]
        assert said["receive"]["reason"] == "the disk is full: senders get 0xA700"
        assert said["deliver"]["reason"].startswith("no destination is set up")

    def test_without_the_database_nothing_is_ready_and_the_numbers_still_come(
        self, console, tmp_path: Path
    ):
        file = tmp_path / "data" / "cadnode.db"
        console.store.close()
        file.rename(tmp_path / "away")
        file.write_bytes(b"this is no database" * 500)
        with asked_from(console, "127.0.0.1") as client:
            answer = client.get("/readyz")
            found = samples(client.get("/metrics").text)
        assert answer.status_code == 503
        assert {a["reason"] for a in answer.json()["abilities"].values()} == {
            "the job database does not answer"
        }
        assert found["cadnode_database_up{}"] == 0
        assert found["cadnode_disk_free_bytes{}"] > 0
        assert found['cadnode_ready{"ability": "receive"}'] == 0

    def test_programs_read_the_same_from_the_api(self, console):
        answer = console.browser.get("/api/v1/readiness")
        assert answer.status_code == 200
        assert answer.json()["abilities"].keys() == {"receive", "analyze", "deliver"}


class TestWhoMayAsk:
    @pytest.mark.parametrize("path", PATHS)
    def test_this_machine_needs_no_sign_in_also_where_there_are_users(self, console, path):
        access = open_console(console.app, console.store).access
        access.add_user("ann", Role.ADMIN, "correct horse battery", by="test")
        assert console.browser.get("/", follow_redirects=False).status_code != 200
        assert console.browser.get(path).status_code in (200, 503)

    def test_whoever_wants_the_head_alone_gets_it(self, console):
        answer = console.browser.head("/healthz")
        assert (answer.status_code, answer.content) == (200, b"")
        assert console.browser.head("/readyz").status_code == 503

    @pytest.mark.parametrize("path", PATHS)
    def test_strangers_are_told_what_to_do(self, console, path):
        with asked_from(console, "10.0.0.9") as stranger:
            answer = stranger.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "metrics_from" in answer.text

    def test_networks_of_the_settings_are_let_in(self, tmp_path: Path):
        with console_under_test(tmp_path, '[web]\nmetrics_from = ["10.0.0.0/24"]\n') as console:
            for address, status in (("10.0.0.9", 200), ("10.0.1.9", 401), ("127.0.0.1", 200)):
                with asked_from(console, address) as client:
                    assert client.get("/healthz").status_code == status, address

    def test_a_proxy_on_this_machine_that_nobody_told_us_of_is_not_this_machine(self, console):
        access = open_console(console.app, console.store).access
        access.add_user("ann", Role.ADMIN, "correct horse battery", by="test")
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        assert console.browser.get("/metrics", headers=forwarded).status_code == 401

    def test_a_viewers_token_lets_in_over_https_and_is_not_taken_in_clear(self, console):
        access = open_console(console.app, console.store).access
        _, secret = access.add_token("prometheus", Role.VIEWER, 30, owner=None, by="test")
        headers = {"Authorization": f"Bearer {secret}"}
        app = create_app(open_console(console.app, console.store), [health])
        for scheme, status in (("https", 200), ("http", 401)):
            with TestClient(
                app, base_url=f"{scheme}://127.0.0.1", client=("10.0.0.9", 5)
            ) as client:
                assert client.get("/metrics", headers=headers).status_code == status
                wrong = {"Authorization": "Bearer nonsense"}
                assert client.get("/metrics", headers=wrong).status_code == 401


class TestMetrics:
    def test_what_waits_where_is_read_from_the_database(self, console):
        for number in range(3):
            console.store.exams.accept(
                new_image(1, f"1.2.{number}"), now=datetime.now(UTC) - timedelta(hours=1)
            )
        beat(console, WORK)
        silence(console, "pacs")
        found = metrics_of(console)
        assert found['cadnode_exams{"status": "receiving"}'] == 3
        assert 3600 <= found['cadnode_queue_oldest_seconds{"lane": "analysis"}'] < 3700
        assert found['cadnode_queue_oldest_seconds{"lane": "delivery"}'] == 0
        assert found['cadnode_destination_up{"destination": "pacs"}'] == 0
        assert found['cadnode_destination_up{"destination": "ws"}'] == 1
        assert found['cadnode_deliveries_waiting{"destination": "ws"}'] == 0
        assert found['cadnode_process_up{"process": "work"}'] == 1
        assert found[f'cadnode_process_up{{"process": "{WEB}"}}'] == 0
        assert abs(found['cadnode_process_start_time_seconds{"process": "work"}']) > 1e9

    def test_promtool_finds_nothing_to_say_against_it(self, console):
        promtool = require("promtool", "prometheus")
        recording = Recording(console.app.metrics_folder, RECEIVE)
        recording.add(m.IMAGES_RECEIVED, "MG1", "new")
        recording.observe(m.DELIVERY_DURATION, 0.3, "pacs")
        text = console.browser.get("/metrics").content
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_openmetrics_is_understood_by_its_parser(self, console):
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        answer = console.browser.get("/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        names = {family.name for family in openmetrics(answer.text)}
        assert {"cadnode_images_received", "cadnode_exams", "cadnode_ready"} <= names

    def test_a_model_that_drifts_is_a_number(self, console):
        beat(console, WORK)
        assert "\ncadnode_model_drift 0.0\n" in console.browser.get("/metrics").text
        beat(console, WORK, replace(FIT, drift="Scores have risen."), host="gpu")
        again = open_console(console.app, console.store)
        assert "\ncadnode_model_drift 1.0\n" in again.health.metrics("").content.decode()

    def test_every_metric_is_in_the_guide_with_its_labels_and_its_meaning(self):
        guide = (ROOT / "docs" / "operations.md").read_text()
        rows = re.findall(r"^\| `(cadnode_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", guide, re.MULTILINE)
        assert rows == [
            (metric.name, type(metric).__name__.lower(), ", ".join(metric.labels), metric.help)
            for metric in (*m.RECORDED, *m.AT_SCRAPE)
        ]

    def test_what_dashboard_and_alerts_ask_for_is_there_with_those_labels(self, console):
        shown = {
            family.name: family
            for family in text_string_to_metric_families(console.browser.get("/metrics").text)
        }
        known = {metric.name: metric for metric in (*m.RECORDED, *m.AT_SCRAPE)}
        board = json.loads((ROOT / "docker" / "grafana" / "cadnode.json").read_text())
        asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        alerts = (ROOT / "docker" / "prometheus" / "alerts.yml").read_text()
        asked += re.findall(r"^\s+expr: (.*)$", alerts, re.MULTILINE)
        assert len(asked) > 50
        named = set()
        for expression in asked:
            for name, selector in re.findall(r"(cadnode_\w+)(?:\{([^}]*)\})?", expression):
                base = re.sub(r"_(bucket|count|sum)$", "", name)
                metric = known.get(name) or known[base]
                family = name.removesuffix("_total") if isinstance(metric, Counter) else base
                assert family in shown, name
                labels = set(re.findall(r"(\w+)(?:=~|!=|=)", selector)) - {"instance"}
                assert labels <= set(metric.labels), expression
                named.add(metric.name)
        assert named == set(known), "a number that nobody shows or watches"

    def test_the_alert_rules_pass_their_own_tests(self):
        promtool = require("promtool", "prometheus")
        folder = ROOT / "docker" / "prometheus"
        for command in (
            ("check", "rules", "alerts.yml"),
            ("check", "config", "prometheus.yml"),
            ("test", "rules", "alerts_test.yml"),
        ):
            done = subprocess.run(
                [promtool, *command], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def test_prometheus_understands_every_question_of_the_dashboard(self, tmp_path: Path):
        program = require("prometheus", "prometheus")
        (tmp_path / "prometheus.yml").write_text("global: {}\n")
        port = free_port()
        command = [
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        board = json.loads((ROOT / "docker" / "grafana" / "cadnode.json").read_text())
        refused = []
        with running(command, port, tmp_path / "prometheus.log"):
            url = f"http://127.0.0.1:{port}"
            wait_for_prometheus(url)
            for panel in board["panels"]:
                for target in panel.get("targets", []):
                    query = target["expr"].replace("$instance", ".*")
                    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()
                    if answer["status"] != "success":
                        refused.append((panel["title"], answer["error"]))
        assert refused == []

    def test_every_alert_is_tested(self):
        folder = ROOT / "docker" / "prometheus"
        alerts = re.findall(r"alert: (\w+)", (folder / "alerts.yml").read_text())
        tests = (folder / "alerts_test.yml").read_text()
        assert [alert for alert in alerts if alert not in tests] == []
