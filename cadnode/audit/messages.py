"""Audit events as DICOM audit messages (PS3.15 A.5).

The schema of A.5.1.1 asks for a ParticipantObjectName wherever there is no query, also where the
tables of A.5.3 leave the name to us; it stands empty there. A patient is named by the Patient ID,
which A.5.3 requires, and by nothing else.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from xml.etree.ElementTree import Element, SubElement, tostring

from cadnode.core.audit import (
    ApplicationStarted,
    ApplicationStopped,
    AuditEvent,
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

SUCCESS = "0"
MINOR_FAILURE = "4"
SERIOUS_FAILURE = "8"

UNKNOWN_PATIENT = "unknown"
"""Patient ID where the object has none, or its file is gone: the attribute may not be missing."""

_PERSON, _SYSTEM_OBJECT = "1", "2"
_PATIENT, _REPORT = "1", "3"
_APPLICATION_SERVER = "4"

_SOURCE = ("110153", "Source Role ID")
_DESTINATION = ("110152", "Destination Role ID")
_APPLICATION = ("110150", "Application")


@dataclass(frozen=True, slots=True)
class AuditSource:
    """Who reports."""

    name: str
    """AuditSourceID: the station name."""
    ae_title: str
    host: str
    process: str
    process_id: int


def audit_message(
    event: AuditEvent, *, at: datetime, source: AuditSource, subject: Subject | None = None
) -> bytes:
    """The message in UTF-8. `subject` is whose instances an event with instances is about; all of
    them are of this one study (A.5.3.7 allows one patient to a message)."""
    root = Element("AuditMessage")
    subject = subject or Subject("", "")
    match event:
        case ApplicationStarted() | ApplicationStopped():
            _application(root, event, at, source)
        case NodeRefused():
            _refused(root, event, at, source)
        case TransferBegun():
            _event(root, ("110102", "Begin Transferring DICOM Instances"), "E", at, SUCCESS)
            _transfer(root, event.source, event.destination, source)
            _audit_source(root, source)
            _study(root, subject.study_instance_uid, counted(event.instances))
            _patient(root, subject.patient_id)
        case InstancesTransferred():
            _transferred(root, event, at, source, subject)
        case Queried():
            _queried(root, event, at, source)
        case InstancesAccessed():
            _accessed(root, event, at, source, subject)
        case StudyDeleted():
            _event(root, ("110105", "DICOM Study Deleted"), "D", at, SUCCESS)
            _ourselves(root, source, requestor=True)
            _audit_source(root, source)
            _study(root, event.study_instance_uid, [("", event.files)])
            _patient(root, subject.patient_id)
        case UserLogin() | UserLogout():
            _user(root, event, at, source)
    body: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()


def outcome_of(event: AuditEvent) -> str:
    """EventOutcomeIndicator of the message about `event`."""
    match event:
        case NodeRefused():
            return SERIOUS_FAILURE
        case InstancesTransferred(failed=failed) if failed:
            return MINOR_FAILURE
        case UserLogin(refused=refused) if refused:
            return MINOR_FAILURE
    return SUCCESS


def counted(instances: Iterable[Instance]) -> tuple[tuple[str, int], ...]:
    """How many instances there are of each SOP class."""
    return tuple(sorted(Counter(i.sop_class_uid for i in instances).items()))


def _application(
    root: Element, event: ApplicationStarted | ApplicationStopped, at: datetime, source: AuditSource
) -> None:
    started = isinstance(event, ApplicationStarted)
    kind = ("110120", "Application Start") if started else ("110121", "Application Stop")
    _event(root, ("110100", "Application Activity"), "E", at, SUCCESS, kind)
    _participant(
        root,
        user_id=f"cadnode {event.process}",
        alternative=f"AETITLES={source.ae_title}",
        requestor=False,
        role=_APPLICATION,
        host=source.host,
    )
    _audit_source(root, source)


def _refused(root: Element, event: NodeRefused, at: datetime, source: AuditSource) -> None:
    kind = ("110126", "Node Authentication")
    _event(root, ("110113", "Security Alert"), "E", at, outcome_of(event), kind, event.why)
    _ourselves(root, source, requestor=False)
    stranger = event.stranger
    _participant(
        root,
        user_id=stranger.ae_title or stranger.host,
        alternative=f"AETITLES={stranger.ae_title}" if stranger.ae_title else "",
        # A.5.3.11: false for whoever an alert is about, and it is they who asked.
        requestor=False,
        host=stranger.host,
    )
    _audit_source(root, source)
    subject = _object(
        root,
        stranger.host or "unknown",
        _SYSTEM_OBJECT,
        None,
        ("110182", "DCM", "Node ID"),
        name=stranger.ae_title,
    )
    _detail(subject, "Alert Description", event.why)


def _transferred(
    root: Element,
    event: InstancesTransferred,
    at: datetime,
    source: AuditSource,
    subject: Subject,
) -> None:
    why = f"{len(event.failed)} not taken" if event.failed else ""
    name = ("110104", "DICOM Instances Transferred")
    _event(root, name, event.held, at, outcome_of(event), description=why)
    _transfer(root, event.source, event.destination, source)
    _audit_source(root, source)
    _study(root, subject.study_instance_uid, counted(event.instances or event.failed))
    _patient(root, subject.patient_id)


def _queried(root: Element, event: Queried, at: datetime, source: AuditSource) -> None:
    _event(root, ("110112", "Query"), "E", at, SUCCESS)
    _transfer(root, event.source, event.destination, source)
    _audit_source(root, source)
    asked = _object(
        root,
        event.sop_class_uid,
        _SYSTEM_OBJECT,
        _REPORT,
        ("110181", "DCM", "SOP Class UID"),
        query=event.identifier,
    )
    _detail(asked, "TransferSyntax", event.transfer_syntax_uid)


def _accessed(
    root: Element, event: InstancesAccessed, at: datetime, source: AuditSource, subject: Subject
) -> None:
    _event(root, ("110103", "DICOM Instances Accessed"), "R", at, SUCCESS)
    _participant(root, user_id=event.user, alternative="", requestor=True, host=event.host)
    _ourselves(root, source, requestor=False)
    _audit_source(root, source)
    _study(root, subject.study_instance_uid, counted(event.instances))
    _patient(root, subject.patient_id)


def _user(root: Element, event: UserLogin | UserLogout, at: datetime, source: AuditSource) -> None:
    logout = isinstance(event, UserLogout)
    kind = ("110123", "Logout") if logout else ("110122", "Login")
    why = "" if isinstance(event, UserLogout) else event.refused
    _event(root, ("110114", "User Authentication"), "E", at, outcome_of(event), kind, why)
    _participant(root, user_id=event.user, alternative="", requestor=True, host=event.host)
    _ourselves(root, source, requestor=False)
    _audit_source(root, source)


def _event(
    root: Element,
    name: tuple[str, str],
    action: str,
    at: datetime,
    outcome: str,
    kind: tuple[str, str] | None = None,
    description: str = "",
) -> None:
    when = at.astimezone(UTC).isoformat(timespec="milliseconds")
    event = SubElement(
        root,
        "EventIdentification",
        EventActionCode=action,
        EventDateTime=when,
        EventOutcomeIndicator=outcome,
    )
    _code(event, "EventID", *name)
    if kind is not None:
        _code(event, "EventTypeCode", *kind)
    if description:
        SubElement(event, "EventOutcomeDescription").text = _clean(description)


def _code(parent: Element, name: str, value: str, meaning: str, system: str = "DCM") -> None:
    attributes = {"csd-code": value, "codeSystemName": system, "originalText": meaning}
    SubElement(parent, name, attributes)


def _transfer(root: Element, source: Party, destination: Party, reporter: AuditSource) -> None:
    """Both ends of an association; whoever opened it, the source, is the requestor."""
    for party, role, requestor in ((source, _SOURCE, True), (destination, _DESTINATION, False)):
        ours = party.ae_title == reporter.ae_title and party.host == reporter.host
        _participant(
            root,
            user_id=f"cadnode {reporter.process}" if ours else party.ae_title,
            alternative=f"AETITLES={party.ae_title}",
            requestor=requestor,
            role=role,
            host=party.host,
        )


def _ourselves(root: Element, source: AuditSource, *, requestor: bool) -> None:
    _participant(
        root,
        user_id=f"cadnode {source.process}",
        alternative=f"AETITLES={source.ae_title}",
        requestor=requestor,
        role=_APPLICATION,
        host=source.host,
    )


def _participant(
    root: Element,
    *,
    user_id: str,
    alternative: str,
    requestor: bool,
    role: tuple[str, str] | None = None,
    host: str = "",
) -> None:
    attributes = {"UserID": _clean(user_id)}
    if alternative:
        attributes["AlternativeUserID"] = _clean(alternative)
    attributes["UserIsRequestor"] = str(requestor).lower()
    if host:
        attributes["NetworkAccessPointID"] = _clean(host)
        attributes["NetworkAccessPointTypeCode"] = "2" if _is_address(host) else "1"
    participant = SubElement(root, "ActiveParticipant", attributes)
    if role is not None:
        _code(participant, "RoleIDCode", *role)


def _audit_source(root: Element, source: AuditSource) -> None:
    element = SubElement(root, "AuditSourceIdentification", AuditSourceID=_clean(source.name))
    SubElement(element, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})


def _study(root: Element, uid: str, instances: Sequence[tuple[str, int]]) -> None:
    code = ("110180", "DCM", "Study Instance UID")
    study = _object(root, uid or "unknown", _SYSTEM_OBJECT, _REPORT, code)
    description = SubElement(study, "ParticipantObjectDescription")
    for sop_class_uid, number in instances:
        known = {"UID": sop_class_uid} if sop_class_uid else {}
        SubElement(description, "SOPClass", known, NumberOfInstances=str(number))


def _patient(root: Element, patient_id: str) -> None:
    code = ("2", "RFC-3881", "Patient Number")
    _object(root, patient_id or UNKNOWN_PATIENT, _PERSON, _PATIENT, code)


def _object(
    root: Element,
    identifier: str,
    kind: str,
    role: str | None,
    code: tuple[str, str, str],
    *,
    name: str = "",
    query: bytes | None = None,
) -> Element:
    attributes = {"ParticipantObjectID": _clean(identifier), "ParticipantObjectTypeCode": kind}
    if role is not None:
        attributes["ParticipantObjectTypeCodeRole"] = role
    element = SubElement(root, "ParticipantObjectIdentification", attributes)
    value, system, meaning = code
    _code(element, "ParticipantObjectIDTypeCode", value, meaning, system)
    if query is None:
        SubElement(element, "ParticipantObjectName").text = _clean(name)
    else:
        SubElement(element, "ParticipantObjectQuery").text = b64encode(query).decode()
    return element


def _detail(parent: Element, kind: str, text: str) -> None:
    value = b64encode(_clean(text).encode()).decode()
    SubElement(parent, "ParticipantObjectDetail", type=kind, value=value)


def _clean(text: str) -> str:
    """Without what XML cannot hold: an AE title comes from a stranger."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
