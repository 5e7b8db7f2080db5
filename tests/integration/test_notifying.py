"""From what happens at the node to what persons get, with a real mail server in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cadnode.app import App
from cadnode.checks import _notify
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.core.breaker import BreakerRules, LineEvent
from cadnode.core.errors import ModelUnfit
from cadnode.core.jobs import ExamStatus, Problem
from cadnode.core.notices import RETRIES
from cadnode.core.processes import RECEIVE, SEEN_WITHIN, WORK, ProcessRecord
from cadnode.metrics.exposition import totals
from cadnode.notifying import TellLane, WatchLane, channels_of, notice_lanes
from cadnode.storage.beats import BeatRecords
from cadnode.storage.disk import Disk
from cadnode.store import Store
from tests.certificates import SiteCa
from tests.contract.exams import DONE, LEASE, deliver, new_image, sent, take
from tests.mail_server import MailServerUnderTest, mail_server

START = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Node:
    """A node that is not running, a clock that is moved by hand, and the lanes that tell."""

    app: App
    store: Store
    now: datetime = START

    def __post_init__(self) -> None:
        self.watch, *self.tell = notice_lanes(
            self.app, self.store, owner="w", clock=lambda: self.now
        )
        for lane in self.tell:
            assert isinstance(lane, TellLane)
            lane._jitter = lambda: 1.0

    def later(self, by: timedelta) -> None:
        """Let time pass, and look and tell once."""
        self.now += by
        for name in (RECEIVE, WORK):
            self.beat(name)
        self.look()

    def beat(self, name: str) -> None:
        record = ProcessRecord(name, name, "here", 1, START, self.now)
        BeatRecords(self.store.database).beat(record)

    def look(self) -> None:
        self.watch.run_once()
        for lane in self.tell:
            lane.run_once()

    def fail_exam(self, number: int) -> None:
        exams = self.store.exams
        exams.accept(new_image(1, f"1.2.{number}"), now=self.now)
        exam = exams.claim_exam("w", now=self.now, lease=LEASE)
        assert exam is not None
        problem = Problem("E801", "no")
        exams.move_exam(exam, ExamStatus.FAILED, text="It failed.", problem=problem, now=self.now)

    def silence(self, destination: str, *, times: int = 3) -> None:
        for _ in range(times):
            self.hear(destination, LineEvent.SILENT)

    def hear(self, destination: str, event: LineEvent) -> None:
        self.store.exams.note_line(
            destination,
            event,
            error="no connection",
            jitter=1.0,
            rules=BreakerRules(),
            give_up_after=timedelta(days=3),
            now=self.now,
        )


@contextmanager
def node(folder: Path, extra: str) -> Iterator[Node]:
    config = folder / "cadnode.toml"
    config.write_text(
        '[node]\ndata_dir = "data"\nstation_name = "MAMMO1"\n[web]\nenabled = false\n'
        '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
        f"[notify]\n{extra}"
    )
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    app.open_metrics("work")
    try:
        found = Node(app, store)
        found.later(timedelta())
        yield found
    finally:
        store.close()


def mail_settings(server: MailServerUnderTest) -> str:
    return (
        f'mail_host = "127.0.0.1"\nmail_port = {server.port}\nmail_security = "none"\n'
        'mail_from = "cadnode@hospital.example"\nmail_to = ["it@hospital.example"]\n'
    )


@pytest.fixture
def server() -> Iterator[MailServerUnderTest]:
    with mail_server() as found:
        yield found


@pytest.fixture
def told(server: MailServerUnderTest, tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, mail_settings(server) + "disk_percent = 100\n") as found:
        yield found


def subjects(server: MailServerUnderTest) -> list[str]:
    return [mail["Subject"] for mail in server.mails]


def test_a_hundred_failed_exams_are_one_mail(told: Node, server: MailServerUnderTest):
    for number in range(100):
        told.fail_exam(number)
    told.later(timedelta(seconds=10))
    assert server.mails == []
    told.later(MINUTE)
    assert subjects(server) == ["MAMMO1: 100 exams failed (E801)"]
    told.later(60 * MINUTE)
    assert len(server.mails) == 1


def test_a_destination_that_is_down_and_comes_back_is_told_twice_and_not_oftener(
    told: Node, server: MailServerUnderTest
):
    told.silence("pacs")
    for _ in range(14):
        told.later(MINUTE)
    assert server.mails == []
    for _ in range(10):
        told.later(MINUTE)
        told.hear("pacs", LineEvent.SILENT)
    assert subjects(server) == ["MAMMO1: pacs does not answer"]
    told.hear("pacs", LineEvent.ECHOED)
    told.later(MINUTE)
    assert len(server.mails) == 1, "a destination on trial is not back yet"
    told.hear("pacs", LineEvent.ANSWERED)
    told.later(MINUTE)
    assert subjects(server)[1:] == ["MAMMO1: pacs answers again"]
    assert "104" not in server.mails[0].get_content()


def test_what_came_up_while_the_mail_server_was_away_is_one_mail_later(
    told: Node, server: MailServerUnderTest
):
    server.refuse["it@hospital.example"] = "451 greylisted"
    told.silence("pacs")
    told.fail_exam(1)
    for _ in range(20):
        told.later(MINUTE)
    assert server.mails == []
    server.refuse.clear()
    told.later(RETRIES.longest_delay)
    told.later(RETRIES.longest_delay)
    (mail,) = server.mails
    assert mail["Subject"] == "MAMMO1: pacs does not answer (+1 more)" or (
        mail["Subject"] == "MAMMO1: 1 exam failed (E801) (+1 more)"
    )
    assert "pacs does not answer" in mail.get_content()
    assert "1 exam failed" in mail.get_content()


def test_a_message_is_given_up_after_a_day_and_counted(told: Node, server: MailServerUnderTest):
    server.refuse["it@hospital.example"] = "550 no such user"
    told.fail_exam(1)
    told.later(timedelta())
    for _ in range(60):
        told.later(RETRIES.longest_delay)
    server.refuse.clear()
    told.later(timedelta(days=2))
    assert server.mails == []
    counted = totals(told.app.metrics_folder)["cadnode_notifications_total"]
    assert counted["mail", "failed"] == [1.0]
    assert counted["mail", "retry"][0] > 40


def test_another_process_that_looks_at_the_same_tells_nothing_twice(
    told: Node, server: MailServerUnderTest
):
    other = Node(told.app, told.store, told.now)
    told.silence("pacs")
    for _ in range(20):
        told.later(MINUTE)
        other.now = told.now
        other.look()
    assert subjects(server) == ["MAMMO1: pacs does not answer"]


def test_a_process_that_is_not_seen_is_told(told: Node, server: MailServerUnderTest):
    told.later(MINUTE)
    told.now += 2 * MINUTE
    told.beat(WORK)
    told.look()
    assert subjects(server) == ["MAMMO1: receive is not seen"]
    told.later(MINUTE)
    assert subjects(server)[1:] == ["MAMMO1: receive is seen again"]


def test_a_process_that_was_stopped_and_is_back_within_a_moment_is_not_told(
    told: Node, server: MailServerUnderTest
):
    told.later(2 * MINUTE)
    stopped = told.now
    BeatRecords(told.store.database).end(WORK)
    told.now += SEEN_WITHIN
    told.beat(RECEIVE)
    told.look()
    assert not server.mails
    told.now += timedelta(seconds=10)
    told.beat(RECEIVE)
    told.look()
    assert subjects(server) == ["MAMMO1: work is not seen"]
    assert f"not seen since {stopped:%Y-%m-%d %H:%M} UTC" in server.mails[0].get_content()


def test_a_clock_that_was_set_back_makes_no_process_missed_nor_hides_one_that_is(
    told: Node, server: MailServerUnderTest
):
    told.later(60 * MINUTE)
    told.now -= 30 * MINUTE
    told.look()
    assert not server.mails
    told.now += SEEN_WITHIN + timedelta(seconds=5)
    told.beat(RECEIVE)
    told.look()
    assert subjects(server) == ["MAMMO1: work is not seen"]


def test_a_disk_that_fills_up_is_told(
    server: MailServerUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with node(tmp_path, mail_settings(server)) as found:
        monkeypatch.setattr("cadnode.notifying.disk_of", lambda _folder: Disk(1000, 99, ""))
        found.later(MINUTE)
        monkeypatch.setattr("cadnode.notifying.disk_of", lambda _folder: Disk(1000, 500, ""))
        found.later(MINUTE)
    assert "MAMMO1: disk nearly full" in subjects(server)
    assert subjects(server)[-1] == "MAMMO1: disk has room again"


def test_a_certificate_that_ends_soon_is_told_and_its_end_is_a_number(
    server: MailServerUnderTest, tmp_path: Path
):
    ca = SiteCa(tmp_path / "ca")
    files = ca.issue("node")
    text = (
        mail_settings(server) + 'kinds = ["certificate"]\ncertificate_days = 400\n'
        f'[tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n'
    )
    with node(tmp_path, text) as found:
        found.now = datetime.now(UTC)
        found.later(timedelta())
        counted = totals(found.app.metrics_folder)
        ends = counted["cadnode_certificate_not_after_timestamp_seconds"]["this node",]
        assert abs(ends[0] - (found.now + timedelta(days=365)).timestamp()) < 86400
    assert subjects(server) == ["MAMMO1: this node: certificate ends soon"]


def test_a_model_that_has_moved_is_told_and_one_that_cannot_be_judged_changes_nothing(
    told: Node, server: MailServerUnderTest, monkeypatch: pytest.MonkeyPatch
):
    def verdict(moved: bool) -> Callable[..., SimpleNamespace]:
        return lambda *_a, **_n: SimpleNamespace(
            moved=moved, model="calc 1.0", text="The scores lie higher than in the reference."
        )

    def unfit(*_arguments: object, **_named: object) -> None:
        raise ModelUnfit("the manifest is missing")

    monkeypatch.setattr("cadnode.notifying.drift_verdict", verdict(True))
    told.later(timedelta(hours=7))
    monkeypatch.setattr("cadnode.notifying.drift_verdict", unfit)
    told.later(timedelta(hours=7))
    assert subjects(server) == ["MAMMO1: model scores have moved"]
    assert "higher than in the reference" in server.mails[0].get_content()
    monkeypatch.setattr("cadnode.notifying.drift_verdict", verdict(False))
    told.later(timedelta(hours=7))
    assert subjects(server)[1:] == ["MAMMO1: model scores are back"]


def test_the_moves_of_exams_are_counted_on_the_way(told: Node):
    told.fail_exam(1)
    told.fail_exam(2)
    told.later(MINUTE)
    counted = totals(told.app.metrics_folder)["cadnode_exam_moves_total"]
    grown = {labels: values for labels, values in counted.items() if values != [0.0]}
    assert grown == {("receiving",): [2.0], ("failed",): [2.0]}
    assert set(counted) == {(str(status),) for status in ExamStatus}


def test_a_result_is_timed_once_and_not_when_a_person_wants_it_again(told: Node):
    exams = told.store.exams
    exams.accept(new_image(1), now=told.now)
    deliver(exams, told.now + MINUTE)
    told.later(MINUTE)
    told.now += timedelta(days=300)
    exams.resend(1, {"A": ["mammography-cad-sr"]}, by="anna", now=told.now)
    again = take(exams, now=told.now)
    exams.record_delivery(again, sent(again), DONE, now=told.now)
    exams.reanalyze(1, by="anna", now=told.now)
    deliver(exams, told.now)
    told.later(MINUTE)
    counted = totals(told.app.metrics_folder)
    assert counted["cadnode_exam_moves_total"][("delivered",)] == [3.0]
    total, *buckets = counted["cadnode_result_delay_seconds"][()]
    assert (total, sum(buckets)) == (60.0, 1)


def test_without_channels_everything_is_counted_and_nobody_is_told(tmp_path: Path):
    with node(tmp_path, "") as found:
        assert found.tell == []
        found.fail_exam(1)
        found.silence("pacs")
        for _ in range(20):
            found.later(MINUTE)
        assert "cadnode_exam_moves_total" in totals(found.app.metrics_folder)


def test_the_console_is_linked_where_the_settings_say_where_it_is(
    server: MailServerUnderTest, tmp_path: Path
):
    text = mail_settings(server).replace("[notify]", "")
    with node(tmp_path, text + "collect_seconds = 0\n") as found:
        web = found.app.settings.web.model_copy(update={"public_url": "https://cadnode.example"})
        found.app.settings = found.app.settings.model_copy(update={"web": web})
        found.fail_exam(1)
        found.later(MINUTE)
    assert "https://cadnode.example" in server.mails[0].get_content()


def test_no_patient_and_no_uid_is_in_a_mail(told: Node, server: MailServerUnderTest):
    told.fail_exam(77)
    told.later(MINUTE)
    told.later(MINUTE)
    text = server.mails[0].as_string()
    assert "1.2.77" not in text
    assert "Exams: 1" in text


class TestCommand:
    def test_every_channel_is_tried_and_says_what_happened(
        self, server: MailServerUnderTest, tmp_path: Path
    ):
        config = tmp_path / "cadnode.toml"
        config.write_text(
            '[node]\ndata_dir = "data"\nstation_name = "MAMMO1"\n[notify]\n'
            + mail_settings(server)
            + 'webhook_url = "http://127.0.0.1:9/hook"\n'
        )
        done = CliRunner().invoke(cli, ["notify", "test", "--config", str(config)])
        assert done.exit_code == 1
        assert "ok    mail: 127.0.0.1 took it for it@hospital.example" in done.output
        assert "FAIL  webhook: E911 http://127.0.0.1:9: Connection refused" in done.output
        assert subjects(server) == ["MAMMO1: test message"]

    def test_a_node_that_tells_nobody_says_so(self, tmp_path: Path):
        config = tmp_path / "cadnode.toml"
        config.write_text("")
        done = CliRunner().invoke(cli, ["notify", "test", "--config", str(config)])
        assert done.exit_code == 1
        assert "nobody is told anything" in done.output

    def test_what_is_wrong_now_is_listed(self, told: Node, tmp_path: Path):
        told.silence("pacs")
        for _ in range(20):
            told.later(MINUTE)
        config = str(tmp_path / "cadnode.toml")
        done = CliRunner().invoke(cli, ["notify", "list", "--config", config])
        assert done.exit_code == 0, done.output
        assert "destination-down" in done.output


@pytest.mark.parametrize(
    ("mode", "well", "says"),
    [
        (0o600, True, "mail to it@hospital.example; `cadnode notify test`"),
        (0o644, None, "can be read by others"),
        (None, False, "No such file"),
    ],
)
def test_the_check_of_the_node_looks_at_the_secrets(tmp_path: Path, mode, well, says):
    if mode is not None:
        (tmp_path / "password").write_text("correct horse")
        (tmp_path / "password").chmod(mode)
    config = tmp_path / "cadnode.toml"
    config.write_text(
        '[notify]\nmail_host = "m"\nmail_from = "a@b.example"\n'
        'mail_to = ["it@hospital.example"]\nmail_user = "n"\nmail_password_file = "password"\n'
    )
    found = _notify(load_settings(config, {}).notify)
    assert (found.name, found.well) == ("notify", well)
    assert says in found.detail


def test_a_mail_password_is_never_sent_in_clear(tmp_path: Path):
    config = tmp_path / "cadnode.toml"
    config.write_text(
        '[notify]\nmail_host = "m"\nmail_from = "a@b.example"\nmail_to = ["a@b.example"]\n'
        'mail_user = "node"\nmail_security = "none"\n'
    )
    with pytest.raises(Exception, match="a password is not sent in clear"):
        load_settings(config, {})


def test_the_lanes_are_one_that_looks_and_one_for_each_channel(told: Node):
    assert isinstance(told.watch, WatchLane)
    assert [channel.name for channel in channels_of(told.app.settings)] == ["mail"]
