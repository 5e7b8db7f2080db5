"""The commands an administrator types, on a real database and real peers."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cadnode.app import App
from cadnode.checks import run_checks, waiting_nowhere
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.core.breaker import BreakerRules, LineEvent
from cadnode.core.errors import CadnodeError, ConfigError, IllegalMove, NotFound
from cadnode.core.exam import ImageState
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import ExamStatus, NewImage, Problem, StoredResult
from cadnode.core.processes import ProcessFacts, ProcessRecord
from cadnode.core.retry import Decision, SendCause, SendOutcome, Verdict
from cadnode.core.uids import derive_uid
from cadnode.dimse.archive import Archive
from cadnode.storage.beats import BeatRecords
from cadnode.store import Store
from tests.contract.exams import DONE, new_image, report, sent
from tests.objects import mammogram, write
from tests.peers import free_port, storescp

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
STUDY, IMAGE = derive_uid("study"), derive_uid("image")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "cadnode.toml"
    file.write_text('[node]\ndata_dir = "data"\n[[peers]]\nname = "room 1"\nae_title = "MG1"\n')
    return file


@pytest.fixture
def store(config):
    opened = App(load_settings(config, {})).open_store(create=True)
    yield opened
    opened.close()


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--config", str(config)])


def add_destination(config: Path, name: str, ae_title: str, port: int) -> None:
    with config.open("a") as file:
        file.write(
            f'[[destinations]]\nname = "{name}"\nae_title = "{ae_title}"\n'
            f'host = "127.0.0.1"\nport = {port}\n'
        )


def one_exam(store: Store) -> None:
    image = NewImage(IMAGE, "1.2", STUDY, "1.3", "1.2.840.10008.1.2", "images/x", 1, "0", "MG1")
    store.exams.accept(image, now=NOW)


def fail(store: Store) -> None:
    exam = store.exams.claim_exam("worker", now=NOW, lease=timedelta(minutes=1))
    assert exam
    problem = Problem("E501", "an outline is open")
    store.exams.move_exam(exam, ExamStatus.FAILED, text="failed", problem=problem, now=NOW)


def test_an_empty_database_is_said_in_words(config, store):
    assert "No exam has been received yet" in run(config, "jobs", "list").output
    assert "No exam is failed" in run(config, "jobs", "list", "--status", "failed").output


def test_jobs_are_listed_with_what_they_wait_for(config, store):
    one_exam(store)
    assert STUDY in run(config, "jobs", "list", "--wide").output
    answer = run(config, "jobs", "list")
    assert STUDY[-19:] in answer.output
    assert "receiving" in answer.output
    (exam,) = json.loads(run(config, "jobs", "list", "--json").output)
    assert exam["waits_for"]
    assert exam["last_image_at"] == "2026-01-05T09:00:00+00:00"


def test_a_failed_exam_is_started_again_by_a_person_and_the_history_says_who(config, store):
    one_exam(store)
    fail(store)
    assert "E501" in run(config, "jobs", "show", "1").output
    assert "receiving again" in run(config, "jobs", "retry", "1").output
    detail = json.loads(run(config, "jobs", "show", "1", "--json").output)
    assert detail["exam"]["status"] == "receiving"
    assert detail["events"][-1]["actor"] not in ("", "worker")


def test_every_exam_that_failed_of_one_cause_is_started_again_at_once(config, store):
    one_exam(store)
    fail(store)
    assert "No exam has failed with E602" in run(config, "jobs", "retry", "--code", "E602").output
    assert "Exam 1 is receiving" in run(config, "jobs", "retry", "--code", "E501").output
    assert run(config, "jobs", "retry").exit_code == 2


def known_exam(store: Store, study: str, patient: str, accession: str) -> None:
    image = new_image(1, study, identifiers=ExamIdentifiers(patient, accession))
    store.exams.accept(image, now=NOW)


def test_exams_are_listed_and_explained_by_patient_and_accession_number(config, store):
    for study, patient, accession in (
        ("1.1", "P-1", "A-1"),
        ("1.2", "P-1", "A-2"),
        ("1.3", "P-3", "A-1"),
    ):
        known_exam(store, study, patient, accession)

    def listed(*arguments: str) -> list[int]:
        answer = run(config, "jobs", "list", "--json", *arguments).output
        return [exam["id"] for exam in json.loads(answer)]

    assert listed("--accession", "A-1") == [3, 1]
    assert listed("--patient", "P-1") == [2, 1]
    assert listed("--patient", "P-1", "--limit", "1", "--offset", "1") == [1]
    assert listed("--patient", "P-1", "--accession", "A-1") == [1]
    assert listed("--patient", "P-1", "--status", "failed") == []
    assert "No exam fits" in run(config, "jobs", "list", "--patient", "P-9").output
    told = run(config, "explain", "--accession", "A-1").output
    assert ("1.1.9.1" in told, "1.2.9.1" in told, "1.3.9.1" in told) == (True, False, True)
    assert run(config, "explain").exit_code == 2
    assert run(config, "explain", "1.1", "--patient", "P-1").exit_code == 2
    assert isinstance(run(config, "explain", "--patient", "P-9").exception, NotFound)


def test_two_exams_under_one_accession_number_are_shown_together(config, store):
    for study in ("1.1", "1.2"):
        known_exam(store, study, "P-1", "A-1")
    shown = run(config, "jobs", "show", "1").output
    assert "other exams under this accession number: 2 (receiving)" in shown
    assert json.loads(run(config, "jobs", "show", "2", "--json").output)["others_of_accession"] == [
        1
    ]


def test_a_delivered_exam_is_sent_again_and_the_history_says_who_asked(config, store):
    one_exam(store)
    report(store.exams, "pacs", now=NOW)
    (delivery,) = store.exams.claim_deliveries(
        "pacs", "s", now=NOW, lease=timedelta(minutes=1), limit=1
    )
    store.exams.record_delivery(delivery, sent(delivery), DONE, now=NOW)
    assert isinstance(run(config, "jobs", "resend", "1").exception, ConfigError)
    add_destination(config, "pacs", "PACS", 104)
    add_destination(config, "second", "SECOND", 104)
    assert isinstance(run(config, "jobs", "resend", "1", "--to", "third").exception, ConfigError)
    assert "2 deliveries are due" in run(config, "jobs", "resend", "1").output
    detail = json.loads(run(config, "jobs", "show", "1", "--json").output)
    assert [line["status"] for line in detail["deliveries"]] == ["pending", "pending"]
    assert detail["events"][-1]["kind"] == "resend"
    assert detail["events"][-1]["actor"] == getpass.getuser()
    assert isinstance(run(config, "jobs", "resend", "1").exception, IllegalMove)


def test_an_exam_is_put_before_others_and_back(config, store):
    one_exam(store)
    assert "Exam 1 is urgent now" in run(config, "jobs", "priority", "1", "--to", "urgent").output
    assert "\nurgent\n" in run(config, "jobs", "show", "1").output
    assert "Exam 1 is normal now" in run(config, "jobs", "priority", "1", "--to", "normal").output
    assert run(config, "jobs", "priority", "1", "--to", "soon").exit_code == 2


def test_an_exam_is_given_up_with_a_reason_only(config, store):
    one_exam(store)
    assert run(config, "jobs", "cancel", "1").exit_code == 2
    assert run(config, "jobs", "cancel", "1", "--why", "test object").exit_code == 0
    assert "test object" in run(config, "explain", STUDY).output
    assert isinstance(run(config, "jobs", "retry", "1").exception, IllegalMove)


@pytest.mark.parametrize("uid", [STUDY, IMAGE, "1.3"])
def test_explain_knows_studies_images_and_series(config, store, uid):
    one_exam(store)
    answer = run(config, "explain", uid)
    assert "received from MG1" in answer.output
    assert json.loads(run(config, "explain", uid, "--json").output)


def test_what_is_not_there_is_an_error_with_a_code(config, store):
    assert isinstance(run(config, "jobs", "show", "7").exception, NotFound)
    assert isinstance(run(config, "explain", "1.2.3").exception, NotFound)
    assert isinstance(run(config, "echo", "nowhere").exception, ConfigError)


def test_a_command_before_the_first_start_says_that_the_node_makes_the_database(config):
    error = run(config, "jobs", "list").exception
    assert isinstance(error, CadnodeError)
    assert "first start" in str(error)


def test_a_list_of_exams_fits_into_120_columns(config, store):
    one_exam(store)
    exam = store.exams.claim_exam("a-host-name:1234567:0123abcd", now=NOW, lease=timedelta(days=1))
    assert exam
    listed, wide = run(config, "jobs", "list").output, run(config, "jobs", "list", "--wide").output
    assert "being worked on by a-host-name:1234567" in listed
    assert max(len(line) for line in listed.splitlines()) <= 120
    assert max(len(line) for line in wide.splitlines()) > 120


def test_a_table_shows_brackets_as_they_are(config):
    assert "peers[room 1].ae_title" in run(config, "config", "show", "--origin").output


def test_the_status_says_what_is_wrong_and_its_exit_status_whether_a_person_is_needed(
    config, store
):
    fail_one = run(config, "status")
    assert fail_one.exit_code == 1
    assert "PROBLEM  The node does not run" in fail_one.output
    now = datetime.now(UTC)
    for name in ("receive", "work", "web"):
        facts = ProcessFacts("0", "s", model="calc", model_version="1", device="CPU")
        record = ProcessRecord(name, name, "here", 7, now, now, facts)
        BeatRecords(store.database).beat(record)
    well = run(config, "status")
    assert (well.exit_code, "All is well." in well.output) == (0, True)
    assert "calc 1 () on CPU" in well.output
    assert "only" not in well.output
    assert json.loads(run(config, "status", "--json").output)["is_well"] is True
    one_exam(store)
    fail(store)
    failed = run(config, "status")
    assert failed.exit_code == 1
    assert "1 exam has failed with E501 and waits for a person" in failed.output
    assert "cadnode jobs retry --code E501" in failed.output
    answer = json.loads(run(config, "status", "--json").output)
    assert answer["day"]["failed"] == [{"code": "E501", "exams": 1}]


def test_the_status_says_in_which_lanes_a_process_works_that_works_in_some(config, store):
    now = datetime.now(UTC)
    facts = ProcessFacts(
        "0",
        "s",
        model="calc",
        model_version="1",
        device="CPU",
        precision="float32",
        lanes=("analysis",),
    )
    BeatRecords(store.database).beat(ProcessRecord("w", "work", "here", 7, now, now, facts))
    assert "calc 1 () on CPU, float32; analysis only" in run(config, "status").output


def test_where_each_setting_came_from_is_shown(config, monkeypatch):
    monkeypatch.setenv("CADNODE_WORK__MAX_TRIES", "7")
    shown = run(config, "config", "show", "--origin").output
    assert re.search(r"work\.max_tries +7 +environment CADNODE_WORK__MAX_TRIES", shown)
    assert re.search(rf"node\.data_dir .* file {re.escape(str(config))}", shown)
    assert re.search(r"exam\.quiet_seconds +60\.0 +default", shown)
    as_json = json.loads(run(config, "config", "show", "--origin", "--json").output)
    assert {line["source"] for line in as_json["lines"]} == {"default", "file", "environment"}


def test_a_data_folder_that_cannot_be_made_is_said_so(tmp_path):
    file = tmp_path / "no-folder"
    file.touch()
    config = tmp_path / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "{file}/data"\n')
    disk = next(c for c in run_checks(App(load_settings(config, {}))) if c.name == "disk")
    assert disk.well is False
    assert f"{file} is no folder" in disk.detail


def test_the_settings_in_force_are_shown_without_a_password(config):
    with config.open("a") as file:
        file.write('[database]\nurl = "postgresql://node:hush@db/cadnode"\n')
    answer = run(config, "config", "show")
    assert json.loads(answer.output)["database"]["url"] == "postgresql://node:***@db/cadnode"
    assert "hush" not in answer.output


@pytest.mark.peers
def test_echo_shows_what_a_destination_accepts(config, tmp_path):
    with storescp(tmp_path, ae_title="PACS") as archive:
        add_destination(config, "pacs", "PACS", archive.port)
        add_destination(config, "down", "DOWN", free_port())
        answer = run(config, "echo", "pacs")
        assert answer.exit_code == 0
        assert "mammography-cad-sr: accepted" in answer.output
        down = run(config, "echo", "down")
        assert down.exit_code == 3
        assert "does not answer" in down.output


def test_send_says_of_each_file_what_became_of_it(config, tmp_path):
    archive = Archive(tmp_path / "archive", ae_title="PACS")
    archive.start()
    try:
        add_destination(config, "pacs", "PACS", archive.port)
        first = write(mammogram(), tmp_path / "1.dcm")
        second = write(mammogram(laterality="L"), tmp_path / "2.dcm")
        answer = run(config, "send", str(first), str(second), "--to", "pacs")
        assert answer.exit_code == 0, answer.output
        assert answer.output.count("stored 0x0000") == 2
    finally:
        archive.stop()
    answer = run(config, "send", str(first), "--to", "pacs")
    assert answer.exit_code == 3
    (tmp_path / "text").write_text("not DICOM")
    assert run(config, "send", str(tmp_path / "text"), "--to", "pacs").exit_code == 2


def test_check_names_what_is_not_well_and_says_so_in_its_status(config, tmp_path):
    config.write_text(
        config.read_text() + f'[model]\nfolder = "{tmp_path / "no models"}"\n', encoding="utf-8"
    )
    add_destination(config, "down", "DOWN", free_port())
    answer = run(config, "check", "--json")
    assert answer.exit_code == 1
    found = {check["name"]: check["well"] for check in json.loads(answer.output)}
    assert found == {
        "settings": True,
        "senders": True,
        "database": None,
        "disk": found["disk"],
        "model": False,
        "destination down": False,
    }


def test_the_model_in_force_is_listed_shown_and_verified(config):
    assert "in force" in run(config, "model", "list").output
    assert "#" in run(config, "model", "show").output
    assert "hashes right" in run(config, "model", "verify").output


def reported(store: Store, *names: str) -> None:
    """One exam, reported, with one result object due at each destination."""
    one_exam(store)
    lease = timedelta(minutes=1)
    exam = store.exams.claim_exam("worker", now=NOW, lease=lease)
    assert exam
    store.exams.record_image(exam, exam.images[0].id, state=ImageState.ANALYZED, now=NOW)
    store.exams.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=NOW)
    exam = store.exams.claim_exam("worker", now=NOW, lease=lease)
    assert exam
    made = StoredResult("sr", "1.2", derive_uid("result"), "1.4", "results/x", "0" * 64, 1)
    store.exams.record_results(exam, [made], {name: ["sr"] for name in names}, now=NOW)


def test_an_exam_is_read_again_by_number_by_study_or_all_of_a_time(config, store):
    reported(store)
    assert run(config, "jobs", "reanalyze").exit_code == 2
    assert run(config, "jobs", "reanalyze", "1", "--all").exit_code == 2
    late = run(config, "jobs", "reanalyze", "--all", "--since", "2026-01-07")
    assert (late.exit_code, late.output) == (0, "No such exam.\n")
    everything = run(config, "jobs", "reanalyze", "--all", "--since", "2026-01-03")
    assert "Exam 1 is read again as exam 2." in everything.output
    refused = run(config, "jobs", "reanalyze", "1")
    assert refused.exit_code == 1
    assert "E701 revision 2 of the study is being worked on" in refused.output
    assert "No such exam" in run(config, "jobs", "reanalyze", "--all").output
    store.exams.cancel(2, why="a test", by="anna", now=NOW)
    assert "No such exam" in run(config, "jobs", "reanalyze", "--all").output
    assert "read again as exam 3" in run(config, "jobs", "reanalyze", STUDY).output
    assert isinstance(run(config, "jobs", "reanalyze", "1.2.99").exception, NotFound)
    (event,) = [
        event
        for event in json.loads(run(config, "jobs", "show", "3", "--json").output)["events"]
        if event["kind"] == "reanalyze"
    ]
    assert event["actor"]


def test_a_purged_exam_is_not_read_again_and_the_line_says_why(config, store):
    one_exam(store)
    store.exams.cancel(1, why="a test", by="anna", now=NOW)
    store.exams.mark_purged(1, now=NOW)
    refused = run(config, "jobs", "reanalyze", "1")
    assert refused.exit_code == 1
    assert "1 of the 1 images of exam 1 were purged: have the study sent again" in refused.output


def test_destinations_are_listed_with_what_waits_for_them(config, store):
    assert "There is no destination" in run(config, "destinations", "list").output
    add_destination(config, "pacs", "ARCHIVE", 104)
    reported(store, "pacs", "old")
    for _ in range(3):
        store.exams.note_line(
            "pacs",
            LineEvent.SILENT,
            error="no connection",
            jitter=1.0,
            rules=BreakerRules(),
            give_up_after=timedelta(hours=72),
            now=NOW,
        )
    pacs, old = json.loads(run(config, "destinations", "list", "--json").output)
    assert (pacs["name"], pacs["state"], pacs["waiting"]) == ("pacs", "open", 1)
    assert (pacs["since"], pacs["last_error"]) == ("2026-01-05T09:00:00+00:00", "no connection")
    assert (old["name"], old["setting"]) == ("old", "not in the settings")
    assert old["oldest"] == "2026-01-05T09:00:00+00:00"
    assert "no connection" in run(config, "destinations", "list").output


def test_what_waits_for_a_destination_that_is_gone_is_said_and_can_be_dropped(config, store):
    add_destination(config, "pacs", "ARCHIVE", free_port())
    reported(store, "old")
    (said,) = waiting_nowhere(App(load_settings(config, {})))
    assert (said.name, said.well) == ("destination old", None)
    assert "1 result objects wait for it" in said.detail
    assert "cadnode destinations drop old" in said.detail
    assert run(config, "destinations", "drop", "pacs", "--why", "x").exit_code == 2
    assert run(config, "destinations", "drop", "old").exit_code == 2
    dropped = run(config, "destinations", "drop", "old", "--why", "replaced")
    assert "Given up for old: 1" in dropped.output
    assert "Nothing waits" in run(config, "destinations", "drop", "old", "--why", "x").output
    assert not list(waiting_nowhere(App(load_settings(config, {}))))
    (exam,) = json.loads(run(config, "jobs", "list", "--json").output)
    assert exam["status"] == "cancelled"


def test_a_proof_that_waits_for_a_destination_that_is_gone_is_said_and_can_be_dropped(
    config, store
):
    reported(store, "old")
    lease = timedelta(minutes=1)
    (delivery,) = store.exams.claim_deliveries("old", "w", now=NOW, lease=lease, limit=9)
    stored = SendOutcome(delivery.result.sop_instance_uid, SendCause.ANSWERED, 0)
    done = Decision(Verdict.DONE, None, "the destination answered 0x0000")
    store.exams.record_delivery(delivery, stored, done, proof_due_at=NOW, now=NOW)
    (old,) = json.loads(run(config, "destinations", "list", "--json").output)
    assert (old["name"], old["waiting"], old["unproved"]) == ("old", 0, 1)
    (said,) = waiting_nowhere(App(load_settings(config, {})))
    assert "1 for its proof" in said.detail
    assert "are asked for at once" in run(config, "jobs", "retry", "1").output
    assert "F310" in run(config, "fsck").output
    run(config, "destinations", "drop", "old", "--why", "replaced")
    assert not list(waiting_nowhere(App(load_settings(config, {}))))


def test_who_cancels_a_delivered_exam_is_told_that_only_its_proofs_end(config, store):
    reported(store, "pacs")
    (delivery,) = store.exams.claim_deliveries(
        "pacs", "w", now=NOW, lease=timedelta(minutes=1), limit=9
    )
    stored = SendOutcome(delivery.result.sop_instance_uid, SendCause.ANSWERED, 0)
    done = Decision(Verdict.DONE, None, "the destination answered 0x0000")
    store.exams.record_delivery(delivery, stored, done, proof_due_at=NOW, now=NOW)
    assert "stays delivered" in run(config, "jobs", "cancel", "1", "--why", "gone").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("work", "--lanes", "analysis,sweeping"), "analysis, delivery, proof, housekeeping"),
        (("celery-worker", "--lane", "proof"), "analysis, delivery or all"),
    ],
)
def test_lanes_nobody_knows_are_refused_with_those_there_are(config, words, said):
    answer = run(config, *words)
    assert answer.exit_code == 2
    assert said in " ".join(answer.output.replace("│", " ").split())


def test_a_celery_worker_without_a_broker_is_told_to_set_one_up(config):
    answer = run(config, "celery-worker")
    assert isinstance(answer.exception, ConfigError)
    assert "celery.enabled" in str(answer.exception)
