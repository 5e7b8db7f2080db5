"""Audit messages against the schema and the tables of PS3.15 A.5."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.audit.messages import AuditSource, audit_message
from cadnode.core.audit import (
    ApplicationStarted,
    ApplicationStopped,
    AuditEvent,
    Held,
    Instance,
    InstancesAccessed,
    InstancesTransferred,
    NodeRefused,
    Party,
    Queried,
    StudyDeleted,
    Subject,
    TransferBegun,
    UserLogin,
    UserLogout,
)
from tests.audit_schema import checked, code, objects, roles

AT = datetime(2026, 3, 4, 5, 6, 7, 89000, UTC)
SOURCE = AuditSource("MAMMO CAD", "CADNODE", "node.local", "receive", 4711)
NODE, MODALITY = Party("CADNODE", "node.local"), Party("MG1", "10.0.0.11")
IMAGE, REPORT = "1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.88.50"
INSTANCES = tuple(Instance(uid, Path("x"), "1.2.3") for uid in (REPORT, IMAGE, IMAGE))
SUBJECT = Subject("1.2.3", "PID-7")

EVENTS: list[AuditEvent] = [
    ApplicationStarted("receive", 4711),
    ApplicationStopped("receive", 4711),
    NodeRefused(MODALITY, "rejected: calling AE title not recognised"),
    TransferBegun(NODE, MODALITY, INSTANCES),
    InstancesTransferred(MODALITY, NODE, INSTANCES, Held.NOTHING_OF_IT),
    InstancesTransferred(NODE, MODALITY, (), Held.ALL_OF_IT, failed=INSTANCES),
    Queried(NODE, MODALITY, "1.2.840.10008.5.1.4.1.2.2.1", b"\x08\x00", "1.2.840.10008.1.2"),
    StudyDeleted("1.2.3", 4),
    InstancesAccessed("Test^Reader", "10.0.0.99", INSTANCES),
    UserLogin("anna", "10.0.0.99"),
    UserLogin("anna", "cad.example", "too many sign-ins have failed"),
    UserLogout("anna", "10.0.0.99"),
]


def written(event: AuditEvent):
    return checked(audit_message(event, at=AT, source=SOURCE, subject=SUBJECT))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_message_holds_to_the_schema(event):
    root = written(event)
    identification = root.find("EventIdentification")
    assert identification is not None
    assert identification.attrib["EventDateTime"] == "2026-03-04T05:06:07.089+00:00"
    source = root.find("AuditSourceIdentification")
    assert source is not None
    assert source.attrib["AuditSourceID"] == "MAMMO CAD"


@pytest.mark.parametrize(
    ("event", "name", "action", "outcome"),
    list(
        zip(
            EVENTS,
            [
                ("110100", "DCM", "Application Activity"),
                ("110100", "DCM", "Application Activity"),
                ("110113", "DCM", "Security Alert"),
                ("110102", "DCM", "Begin Transferring DICOM Instances"),
                ("110104", "DCM", "DICOM Instances Transferred"),
                ("110104", "DCM", "DICOM Instances Transferred"),
                ("110112", "DCM", "Query"),
                ("110105", "DCM", "DICOM Study Deleted"),
                ("110103", "DCM", "DICOM Instances Accessed"),
                ("110114", "DCM", "User Authentication"),
                ("110114", "DCM", "User Authentication"),
                ("110114", "DCM", "User Authentication"),
            ],
            "EEEECREDREEE",
            "008004000040",
            strict=True,
        )
    ),
)
def test_an_event_has_the_code_the_action_and_the_outcome_of_its_table(
    event, name, action, outcome
):
    root = written(event)
    assert code(root, "EventID") == name
    identification = root.find("EventIdentification")
    assert identification is not None
    assert identification.attrib["EventActionCode"] == action
    assert identification.attrib["EventOutcomeIndicator"] == outcome


def test_start_and_stop_have_their_types_and_name_the_application():
    assert code(written(EVENTS[0]), "EventTypeCode") == ("110120", "DCM", "Application Start")
    assert code(written(EVENTS[1]), "EventTypeCode") == ("110121", "DCM", "Application Stop")
    application = roles(written(EVENTS[0]))["110150"]
    assert application.attrib["AlternativeUserID"] == "AETITLES=CADNODE"
    assert application.attrib["UserID"] == "cadnode receive"
    assert application.attrib["NetworkAccessPointTypeCode"] == "1"


def test_who_looked_at_an_exam_is_named_with_the_study_and_the_patient():
    root = written(EVENTS[8])
    person, node = root.findall("ActiveParticipant")
    assert person.attrib == {
        "UserID": "Test^Reader",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "10.0.0.99",
        "NetworkAccessPointTypeCode": "2",
    }
    assert (node.attrib["UserIsRequestor"], node.attrib["UserID"]) == ("false", "cadnode receive")
    assert objects(root)["110180"].attrib["ParticipantObjectID"] == "1.2.3"
    assert objects(root)["2"].attrib["ParticipantObjectID"] == "PID-7"


def test_who_signs_in_or_out_is_the_requestor_and_a_refusal_says_why():
    login, refused, logout = (written(event) for event in EVENTS[9:12])
    assert code(login, "EventTypeCode") == ("110122", "DCM", "Login")
    assert code(refused, "EventTypeCode") == ("110122", "DCM", "Login")
    assert code(logout, "EventTypeCode") == ("110123", "DCM", "Logout")
    person, node = refused.findall("ActiveParticipant")
    assert person.attrib == {
        "UserID": "anna",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "cad.example",
        "NetworkAccessPointTypeCode": "1",
    }
    assert node.attrib["UserIsRequestor"] == "false"
    why = refused.find("EventIdentification/EventOutcomeDescription")
    assert why is not None
    assert why.text == "too many sign-ins have failed"
    assert login.find("EventIdentification/EventOutcomeDescription") is None


def test_an_alert_names_the_stranger_and_says_why():
    root = written(EVENTS[2])
    assert code(root, "EventTypeCode") == ("110126", "DCM", "Node Authentication")
    subject = objects(root)["110182"]
    assert subject.attrib["ParticipantObjectID"] == "10.0.0.11"
    detail = subject.find("ParticipantObjectDetail")
    assert detail is not None
    assert detail.attrib["type"] == "Alert Description"
    assert b64decode(detail.attrib["value"]) == b"rejected: calling AE title not recognised"
    stranger = roles(root)[""]
    assert stranger.attrib["UserID"] == "MG1"
    assert stranger.attrib["NetworkAccessPointTypeCode"] == "2"


def test_a_transfer_names_both_ends_the_study_its_classes_and_the_patient_by_number_only():
    root = written(EVENTS[4])
    assert roles(root)["110153"].attrib["UserID"] == "MG1"
    assert roles(root)["110153"].attrib["UserIsRequestor"] == "true"
    assert roles(root)["110152"].attrib["UserID"] == "cadnode receive"
    study, patient = objects(root)["110180"], objects(root)["2"]
    assert study.attrib["ParticipantObjectID"] == "1.2.3"
    classes = {c.attrib["UID"]: c.attrib["NumberOfInstances"] for c in study.iter("SOPClass")}
    assert classes == {IMAGE: "2", REPORT: "1"}
    assert patient.attrib["ParticipantObjectID"] == "PID-7"
    assert patient.attrib["ParticipantObjectTypeCode"] == "1"
    assert patient.attrib["ParticipantObjectTypeCodeRole"] == "1"
    assert code(patient, "ParticipantObjectIDTypeCode") == ("2", "RFC-3881", "Patient Number")
    assert patient.findtext("ParticipantObjectName") == ""


def test_a_patient_without_an_identifier_is_said_to_be_unknown():
    message = audit_message(EVENTS[4], at=AT, source=SOURCE, subject=Subject("1.2.3", ""))
    assert objects(checked(message))["2"].attrib["ParticipantObjectID"] == "unknown"


def test_a_query_holds_the_keys_as_they_were_sent_and_their_transfer_syntax():
    asked = objects(written(EVENTS[6]))["110181"]
    assert asked.attrib["ParticipantObjectID"] == "1.2.840.10008.5.1.4.1.2.2.1"
    assert b64decode(asked.findtext("ParticipantObjectQuery", "")) == b"\x08\x00"
    detail = asked.find("ParticipantObjectDetail")
    assert detail is not None
    assert detail.attrib["type"] == "TransferSyntax"
    assert b64decode(detail.attrib["value"]) == b"1.2.840.10008.1.2"


@given(st.text(min_size=1, max_size=30), st.text(max_size=60))
def test_whatever_a_stranger_calls_itself_the_message_can_be_read(title, why):
    checked(audit_message(NodeRefused(Party(title, "10.0.0.1"), why), at=AT, source=SOURCE))


def test_the_check_itself_finds_what_the_schema_forbids():
    good = audit_message(EVENTS[4], at=AT, source=SOURCE, subject=SUBJECT)
    for old, new in (
        (b'EventActionCode="C"', b'EventActionCode="X"'),
        (b"csd-code", b"code"),
        (b'UserIsRequestor="false"', b'UserIsRequestor="true"'),
        (b"<ParticipantObjectName />", b""),
        (b' EventOutcomeIndicator="0"', b""),
    ):
        assert old in good
        with pytest.raises(AssertionError):
            checked(good.replace(old, new))
