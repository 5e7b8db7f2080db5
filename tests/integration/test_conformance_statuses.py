"""The conformance statement's tables of statuses against what is decided and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from cadnode.core.commitment import (
    CommitmentItem,
    CommitmentRequest,
    KeptImage,
    NewRequest,
    report_on,
)
from cadnode.core.errors import DatabaseUnavailable, SpoolFull
from cadnode.core.jobs import Acceptance
from cadnode.core.proof import AskAnswer, CommitmentReport, ReportTaken
from cadnode.core.retry import RetryRules, SendCause, SendOutcome, Verdict, decide
from cadnode.dimse import commitment_scp
from cadnode.dimse.admission import Limits, Peer
from cadnode.dimse.commitment_events import take_report
from cadnode.dimse.commitment_messages import (
    PUSH_MODEL_INSTANCE,
    STORAGE_COMMITMENT,
    commitment_context,
    encoded,
)
from cadnode.dimse.commitment_reporter import DicomReporter
from cadnode.dimse.commitment_scp import CommitmentService
from cadnode.dimse.commitment_scu import DicomProver
from cadnode.dimse.destination import Destination, Timeouts
from cadnode.dimse.scp import ScpSettings, StorageScp
from cadnode.dimse.storing import IncomingObject
from cadnode.dimse.sub_operations import COULD_NOT_SEND, RETRIEVE_STATUSES
from tests.integration.committing_archive import NEVER, committing_archive
from tests.integration.modality import FOR_PRESENTATION, Modality, image
from tests.integration.receiver import receiver
from tests.integration.statement import Row, Statement, written
from tests.integration.test_conformance_network import proof

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IMPLICIT = "1.2.840.10008.1.2"
QUICK = Timeouts(connect=5, association=10, answer=20, delivery=30)


@pytest.fixture(scope="module")
def statement() -> Statement:
    return written()


def row_of(status: int, rows: Sequence[Row]) -> Row:
    """The row that speaks of a status: the first one that names it, else that of the others."""
    text = f"0x{status:04X}"
    for row in rows:
        for pattern in row["Status"].split(", "):
            if len(pattern) == 6 and all(
                p in ("x", t) for p, t in zip(pattern[2:], text[2:], strict=True)
            ):
                return row
    return next(row for row in rows if row["Status"] == "any other")


BEHAVIOUR = {
    Verdict.DONE: "The object is delivered.",
    Verdict.GIVE_UP: "The object is not sent again to this destination ({}).",
    Verdict.RETRY: "Sent again later ({}).",
}


def decided(outcome: SendOutcome) -> str:
    decision = decide(outcome, tries=1, first_try_at=NOW, now=NOW, jitter=0.5, rules=RetryRules())
    return BEHAVIOUR[decision.verdict].format(decision.code)


def test_every_status_of_a_destination_has_the_consequence_of_the_table(
    statement: Statement,
) -> None:
    rows = statement.table("Answers to C-STORE that a destination gives")
    for status in range(0x10000):
        said = row_of(status, rows)["What the node does"]
        assert said == decided(SendOutcome("", SendCause.ANSWERED, status)), hex(status)


def test_every_trouble_has_the_consequence_of_the_table(statement: Statement) -> None:
    rows = statement.table("Communication failures")
    said = {row["What happens"]: row["What the node does"] for row in rows}
    causes = [cause for cause in SendCause if cause is not SendCause.ANSWERED]
    assert said == {str(cause): decided(SendOutcome("", cause)) for cause in causes}


def test_patience_ends_when_the_statement_says(statement: Statement) -> None:
    assert "until 72 h after the first try; then the delivery has failed (E603)" in statement.text
    outcome = SendOutcome("", SendCause.ANSWERED, 0xA700)
    later = NOW + timedelta(hours=72)
    ended = decide(outcome, tries=9, first_try_at=NOW, now=later, jitter=0.5, rules=RetryRules())
    assert (ended.verdict, ended.code) == (Verdict.GIVE_UP, "E603")


def test_the_port_answers_c_store_with_every_status_of_the_table(
    statement: Statement, tmp_path: Path
) -> None:
    answered: set[int] = set()
    small = Peer("small", "SMALL", limits=Limits(max_object_bytes=2000))
    closed = Peer("closed", "CLOSED", may_store=False)
    trouble: dict[str, Exception] = {
        "1.2.1": DatabaseUnavailable("gone"),
        "1.2.2": SpoolFull("full"),
    }

    def before(incoming: IncomingObject) -> None:
        if incoming.sop_instance_uid in trouble:
            raise trouble[incoming.sop_instance_uid]

    def store(calling: str, uid: str, *contexts: tuple[str, str], **options: Any) -> int:
        with Modality(node.port, calling=calling) as modality:
            modality.associate(contexts or ((FOR_PRESENTATION, IMPLICIT),))
            status, _ = modality.store(uid, **options)
        answered.add(status)
        return status

    with receiver(tmp_path, peers=(small, closed)) as node:
        node.before_keeping = before
        assert store("ROOM", "1.2.0") == 0x0000
        assert store("ROOM", "1.2.1") == 0x0110
        assert store("ROOM", "1.2.2") == 0xA700
        assert store("ROOM", "1.2.3", data_set=image("1.2.4")) == 0xA900
        assert store("ROOM", "1.2.5", data_set=image("1.2.5", study="")) == 0xC000
        assert store("SMALL", "1.2.6", data_set=image("1.2.6", size=3000)) == 0xC001
        ct = "1.2.840.10008.5.1.4.1.1.2"
        other = image("1.2.7", sop_class_uid=ct)
        assert store("ROOM", "1.2.7", data_set=other, sop_class_uid=ct) == 0x0122
        # Over the context of C-ECHO, the only one such a peer gets.
        assert store("CLOSED", "1.2.8", ("1.2.840.10008.1.1", IMPLICIT)) == 0x0124
        node.scp._store._receive = lambda _incoming: Acceptance.CONFLICT
        assert store("ROOM", "1.2.9") == 0x0111

    rows = statement.table("Answers of the node to C-STORE")
    assert answered == {int(row["Status"], 16) for row in rows}


class Commits:
    """Keeps nothing, and commits to nothing."""

    trouble: Exception | None = None

    def accept(self, request: NewRequest) -> CommitmentRequest:
        if self.trouble:
            raise self.trouble
        return CommitmentRequest(1, request.transaction_uid, "ROOM", "", request.items, "w", 1, NOW)

    def judge(self, request: CommitmentRequest) -> CommitmentReport:
        return CommitmentReport(request.transaction_uid)

    def taken(self, request: CommitmentRequest, report: CommitmentReport) -> None: ...

    def not_taken(self, request: CommitmentRequest, text: str) -> None: ...


def test_the_port_answers_n_action_with_every_status_of_the_table(
    statement: Statement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Commits()
    scp = StorageScp(
        ScpSettings("CADNODE", "127.0.0.1", 0, tmp_path / "incoming", accept_unknown=True),
        lambda _incoming: Acceptance.NEW,
        services=[CommitmentService(stub, lambda _report, _by: ReportTaken.TAKEN)],
    )
    scp.start()

    def ask(action: int = 1, instance: str = PUSH_MODEL_INSTANCE, *, named: bool = True) -> int:
        association = AE("ROOM").associate(
            "127.0.0.1", scp.port, [commitment_context()], ae_title="CADNODE"
        )
        request = Dataset()
        request.TransactionUID = "1.2.9"
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2", "1.2.3"
        request.ReferencedSOPSequence = [reference] if named else []
        status, _ = association.send_n_action(request, action, STORAGE_COMMITMENT, instance)
        association.release()
        return int(status.Status)

    answered = [ask(), ask(2), ask(instance="1.2.3"), ask(named=False)]
    stub.trouble = DatabaseUnavailable("gone")
    answered.append(ask())
    monkeypatch.setattr(commitment_scp, "MOST_ITEMS", 0)
    answered.append(ask())
    scp.stop()

    assert answered == [0x0000, 0x0123, 0x0112, 0x0115, 0x0110, 0x0213]
    rows = statement.table("Answers of the node to N-ACTION")
    assert sorted(answered) == [int(row["Status"], 16) for row in rows]


def test_reports_are_answered_with_every_status_of_the_table(statement: Statement) -> None:
    report = Dataset()
    report.TransactionUID = "1.2.9"

    def answer(**changes: Any) -> int:
        request = N_EVENT_REPORT()
        request.AffectedSOPInstanceUID = PUSH_MODEL_INSTANCE
        request.EventTypeID = 1
        request.EventInformation = encoded(report, IMPLICIT)
        take = changes.pop("take", lambda _report, _by: ReportTaken.UNKNOWN)
        for name, value in changes.items():
            setattr(request, name, value)
        return take_report(request, IMPLICIT, "PACS", take)[0]

    def broken(_report: CommitmentReport, _by: str) -> ReportTaken:
        raise DatabaseUnavailable("gone")

    answered = [
        answer(),
        answer(take=broken),
        answer(AffectedSOPInstanceUID="1.2.3"),
        answer(EventTypeID=3),
        answer(EventInformation=BytesIO(b"\x00" * 3)),
    ]

    assert answered == [0x0000, 0x0110, 0x0112, 0x0113, 0x0115]
    rows = statement.table("Answers of the node to N-EVENT-REPORT")
    assert answered == [int(row["Status"], 16) for row in rows]


def test_failure_reasons_are_those_of_the_table(statement: Statement) -> None:
    held = KeptImage("1.2.3", "1.2", "", 1)
    report = report_on(
        "1.2.9",
        [CommitmentItem("9.9", "1.2.3"), CommitmentItem("1.2", "1.2.4")],
        {"1.2.3": held},
        lambda _image: True,
    )
    rows = statement.table("Failure Reasons in the reports of the node")
    assert set(report.failed.values()) == {int(row["Failure Reason"], 16) for row in rows}


MEANS = {
    AskAnswer.ACCEPTED: "Its report is awaited.",
    AskAnswer.NOT_OFFERED: "`auto`: C-FIND is used instead; `require`: the delivery has failed"
    " (E604).",
    AskAnswer.REFUSED: "Asked again later, with a new Transaction UID.",
}


def test_answers_to_a_request_for_commitment_mean_what_the_table_says(
    statement: Statement,
) -> None:
    rows = statement.table("Answers to N-ACTION that a destination gives")
    named = [int(s, 16) for row in rows for s in row["Status"].split(", ") if s != "any other"]
    with committing_archive(1, when=NEVER) as archive:
        prover = DicomProver(archive.destination, "CADNODE", QUICK, linger=0.0)
        for status in (*named, 0x0110, 0x0213):
            archive.status = status
            outcome = prover.ask(
                "1.2.9", [proof()], before=lambda: None, on_report=lambda _: ReportTaken.TAKEN
            )
            said = row_of(status, rows)["What the node does"]
            assert said == MEANS[outcome.answer], hex(status)


def test_answers_to_a_report_mean_what_the_table_says(statement: Statement) -> None:
    rows = statement.table("Answers to N-EVENT-REPORT that a sender gives")
    answers: list[int] = []
    ae = AE("ROOM")
    ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    handler: Any = (evt.EVT_N_EVENT_REPORT, lambda _event: (answers[-1], None))
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[handler])
    sender = Destination("room", "ROOM", "127.0.0.1", server.server_address[1])
    item = CommitmentItem("1.2", "1.2.3")
    request = CommitmentRequest(1, "1.2.9", "ROOM", "", (item,), "w", 1, NOW)
    for status in (0x0000, 0x0107, 0x0116, 0x0110, 0x0122):
        answers.append(status)
        reporter = DicomReporter(lambda _request: sender, "CADNODE", QUICK)
        problem = reporter.report(replace(request), CommitmentReport("1.2.9", ("1.2.3",)))
        said = row_of(status, rows)["What the node does"]
        assert (said == "The report is delivered.") is (problem is None), hex(status)
    server.shutdown()


def test_final_statuses_of_a_retrieve_mean_what_the_table_says(statement: Statement) -> None:
    rows = statement.table("Final answers to C-GET and C-MOVE")
    for status in range(1, 0x10000):
        row = row_of(status, rows)
        again = "in each further transfer syntax" in row["What the node does"]
        assert again is (status in COULD_NOT_SEND), hex(status)
        if status in RETRIEVE_STATUSES:
            assert row["Meaning"] == RETRIEVE_STATUSES[status]
