"""The conformance statement against the network: what is proposed to others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import AllStoragePresentationContexts

from cadnode.app import App
from cadnode.checks import _destination as check_destination
from cadnode.checks import _source as check_source
from cadnode.config import Settings, load_settings
from cadnode.core.commitment import CommitmentItem, CommitmentRequest
from cadnode.core.jobs import StoredResult
from cadnode.core.ports import OutgoingObject
from cadnode.core.proof import CommitmentReport, Proof, ProofState, ReportTaken
from cadnode.dimse.commitment_messages import STORAGE_COMMITMENT
from cadnode.dimse.commitment_reporter import DicomReporter
from cadnode.dimse.commitment_scu import DicomProver
from cadnode.dimse.contexts import VERIFICATION
from cadnode.dimse.destination import Timeouts
from cadnode.dimse.find import STUDY_ROOT_FIND, StudyQuery, find_instances, find_studies
from cadnode.dimse.retrieve import Retriever
from cadnode.dimse.sub_operations import (
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    Keeping,
    OwnReceiver,
    WantedSeries,
)
from cadnode.result_parts import RESULT_CLASSES
from tests.integration.statement import TRANSFER_SYNTAXES, Offered, Statement, plain, written
from tests.unit.sr_reports import TWO_CLUSTERS, report_of

QUICK = Timeouts(connect=5, association=10, answer=20, delivery=30)


@pytest.fixture(scope="module")
def statement() -> Statement:
    return written()


@dataclass
class Recorder:
    """A peer that takes everything and writes down what was proposed and asked."""

    port: int = 0
    requests: list[A_ASSOCIATE] = field(default_factory=list)
    stores: list[Any] = field(default_factory=list)
    queries: list[Dataset] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    pdus: set[int] = field(default_factory=set)

    def offered(self) -> set[Offered]:
        """What was proposed, as the statement says it."""
        found = set()
        for request in self.requests:
            roles = {
                str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role))
                for item in request.user_information
                if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
            }
            for context in request.presentation_context_definition_list:
                uid = str(context.abstract_syntax)
                role = roles.get(uid)
                assert role in (None, (False, True)), "the statement knows no other role"
                for syntax in context.transfer_syntax:
                    found.add(
                        Offered(uid, str(syntax), "SCP", "role selection, SCP")
                        if role
                        else Offered(uid, str(syntax), "SCU", "none")
                    )
        return found

    def destination(self) -> str:
        """As settings name it."""
        return f'ae_title = "PACS"\nhost = "127.0.0.1"\nport = {self.port}\n'

    def on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        asked = event.identifier
        self.queries.append(asked)
        answer = Dataset()
        answer.QueryRetrieveLevel = asked.QueryRetrieveLevel
        answer.StudyInstanceUID, answer.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        answer.SOPInstanceUID = "1.2.3.4.5"
        yield 0xFF00, answer

    def on_retrieve(self, event: evt.Event) -> Iterator[Any]:
        self.queries.append(event.identifier)
        if event.event is evt.EVT_C_MOVE:
            yield None, None
            return
        yield 0


@pytest.fixture
def peer() -> Iterator[Recorder]:
    recorder = Recorder()
    ae = AE("PACS")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(
            context.abstract_syntax or "", TRANSFER_SYNTAXES, scu_role=True, scp_role=True
        )
    for uid in (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE):
        ae.add_supported_context(uid)
    ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)

    def store(event: evt.Event) -> int:
        recorder.stores.append(event.request)
        return 0x0000

    def act(event: evt.Event) -> tuple[int, None]:
        recorder.actions.append((event.request, event.action_information))
        return 0x0000, None

    handlers: list[Any] = [
        (
            evt.EVT_REQUESTED,
            lambda event: recorder.requests.append(event.assoc.requestor.primitive),
        ),
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_FIND, recorder.on_find),
        (evt.EVT_C_GET, recorder.on_retrieve),
        (evt.EVT_C_MOVE, recorder.on_retrieve),
        (evt.EVT_N_ACTION, act),
        (evt.EVT_N_EVENT_REPORT, lambda _event: (0x0000, None)),
    ]
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    recorder.port = server.server_address[1]
    yield recorder
    server.shutdown()


def node(folder: Path, peer: Recorder) -> App:
    """A node whose destination and source is the recorder."""
    config = folder / "site.toml"
    objects = ", ".join(f'"{kind}"' for kind in RESULT_CLASSES)
    config.write_text(
        '[node]\ndata_dir = "data"\n'
        f'[[destinations]]\nname = "pacs"\n{peer.destination()}objects = [{objects}]\n'
        f'[[sources]]\nname = "get"\n{peer.destination()}retrieve = "get"\n'
        f'[[sources]]\nname = "move"\n{peer.destination()}retrieve = "move"\n'
    )
    return App(load_settings(config, {}))


def test_results_are_proposed_and_sent_as_the_statement_says(
    peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    report = report_of(tmp_path / "exam", findings=TWO_CLUSTERS)
    outgoing = []
    for builder in app.builders():
        for built in builder.objects(report):
            path = tmp_path / f"{built.sop_instance_uid}.dcm"
            path.write_bytes(built.content)
            outgoing.append(OutgoingObject(built.sop_class_uid, built.sop_instance_uid, path))

    outcomes = app.senders()["pacs"].send(outgoing)

    assert {outcome.status for outcome in outcomes} == {0x0000}
    assert peer.offered() == statement.offered("Proposed to send results")
    assert {store.Priority for store in peer.stores} == {2}
    assert "C-STORE requests have priority LOW" in statement.text
    assert {store.MoveOriginatorMessageID for store in peer.stores} == {None}
    (request,) = peer.requests
    assert {type(item) for item in request.user_information} == {
        MaximumLengthNotification,
        ImplementationClassUIDNotification,
        ImplementationVersionNameNotification,
    }
    assert (request.calling_ae_title, request.called_ae_title) == ("CADNODE", "PACS")
    assert request.application_context_name == "1.2.840.10008.3.1.1.1"
    assert f"| {request.maximum_length_received}; for C-GET" in statement.text


def test_a_peer_is_verified_as_the_statement_says(
    peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    check_destination(app, "pacs")
    for source in app.settings.sources:
        check_source(app, source)
    assert peer.offered() == statement.offered("Proposed to verify a peer")


def proof() -> Proof:
    stored = StoredResult(
        "mammography-cad-sr", RESULT_CLASSES["mammography-cad-sr"], "1.2.3.9", "1.2.3.4", "", "", 1
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Proof(1, 1, "pacs", "w", "1.2.3", stored, ProofState.WANTED, 1, 0, 0, now)


def test_commitment_is_asked_for_as_the_statement_says(
    peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    destination = app.source(app.settings.source("get"))
    prover = DicomProver(destination, "CADNODE", QUICK, linger=0.0)

    prover.ask("1.2.9", [proof()], before=lambda: None, on_report=lambda _: ReportTaken.TAKEN)

    assert peer.offered() == statement.offered("Proposed to ask for commitment")
    ((request, asked),) = peer.actions
    assert request.ActionTypeID == 1
    assert request.RequestedSOPInstanceUID == "1.2.840.10008.1.20.1.1"
    assert {element.keyword for element in asked.iterall()} == {
        *("TransactionUID", "ReferencedSOPSequence"),
        *("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
    }


def test_what_is_held_is_asked_with_the_keys_of_the_statement(
    peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    destination = app.source(app.settings.source("get"))
    DicomProver(destination, "CADNODE", QUICK).find([proof()])

    assert peer.offered() == statement.offered("Proposed for queries")
    (asked,) = peer.queries
    assert asked.QueryRetrieveLevel == "IMAGE"
    assert "with Study, Series and SOP Instance UID as keys" in statement.text
    assert keys(asked) == {"Study Instance UID", "Series Instance UID", "SOP Instance UID"}


def keys(identifier: Dataset) -> set[str]:
    """The names of the keys of a query."""
    return {element.name for element in identifier if element.keyword != "QueryRetrieveLevel"}


def test_queries_have_the_keys_of_the_statement(
    peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    source = app.source(app.settings.source("get"))
    find_studies(source, "CADNODE", StudyQuery(), 10, QUICK)
    find_instances(source, "CADNODE", "1.2.3", QUICK)

    assert peer.offered() == statement.offered("Proposed for queries")
    said = {
        "STUDY": "Study Instance UID, Accession Number, Study Date, Modalities in Study",
        "SERIES": "Study Instance UID, Series Instance UID, Modality",
        "IMAGE": "Study Instance UID, Series Instance UID, SOP Instance UID, SOP Class UID",
    }
    for asked in peer.queries:
        names = set(said.pop(asked.QueryRetrieveLevel).split(", "))
        assert keys(asked) == names
        (row,) = [
            line
            for line in statement.text.split("\n")
            if line.startswith(f"| {asked.QueryRetrieveLevel} |")
        ]
        for name in names - {"Study Instance UID", "Series Instance UID"}:
            assert name in row
    assert said == {}


@pytest.mark.parametrize("service", ["get", "move"])
def test_images_are_fetched_as_the_statement_says(
    service: str, peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    retriever = Retriever(
        app.source(app.settings.source(service)),
        OwnReceiver("CADNODE", 11112),
        deadline_seconds=20,
        stopping=threading.Event(),
    )
    series = [WantedSeries("1.2.3.4", ("1.2.3.4.5",), whole=True)]
    if service == "get":
        keeping = Keeping(
            tmp_path, lambda _incoming: pytest.fail("nothing was sent"), lambda _: True
        )
        retriever.get("1.2.3", series, (), keeping, lambda _done, _failed: None)
    else:
        retriever.move("1.2.3", series, lambda _done, _failed: None)

    assert peer.offered() == statement.offered(f"Proposed for C-{service.upper()}")
    (asked,) = peer.queries
    assert keys(asked) == {"Study Instance UID", "Series Instance UID"}
    (request,) = peer.requests
    assert f"for C-GET and C-MOVE {request.maximum_length_received} |" in statement.text


def test_a_commitment_is_reported_as_the_statement_says(
    peer: Recorder, statement: Statement, tmp_path: Path
) -> None:
    app = node(tmp_path, peer)
    item = CommitmentItem("1.2.840.10008.5.1.4.1.1.1.2", "1.2.3.4")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    request = CommitmentRequest(1, "1.2.9", "PACS", "127.0.0.1", (item,), "w", 1, now)
    sender = app.source(app.settings.source("get"))
    reporter = DicomReporter(lambda _: sender, "CADNODE", QUICK)

    assert reporter.report(request, CommitmentReport("1.2.9", ("1.2.3.4",))) is None

    assert peer.offered() == statement.offered("Proposed to report a commitment")


def test_the_overview_names_every_class_that_is_accepted_or_proposed(statement: Statement) -> None:
    services = statement.table("Network services")
    used, provided = (
        {plain(row["UID"]) for row in services if row[heading] == "yes"}
        for heading in ("User of service (SCU)", "Provider of service (SCP)")
    )
    taken = statement.offered("Accepted presentation contexts")
    assert provided == {one.sop_class_uid for one in taken}
    proposed = {
        one.sop_class_uid
        for caption in statement.captions
        if caption.startswith("Proposed")
        for one in statement.offered(caption)
        if one.role == "SCU"
    }
    assert used == proposed
    assert Settings().destinations == ()
