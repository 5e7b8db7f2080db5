"""The audit message schema of PS3.15 A.5.1.1, as a check that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, fromstring

ANY = r"[\s\S]*"
SOME = r"[\s\S]+"
UID = r"[0-2](\.(0|[1-9][0-9]*))+"
BASE64 = r"[A-Za-z0-9+/]*={0,2}"
DATE_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"


@dataclass(frozen=True)
class Rule:
    """What one element may hold: attributes by pattern, and its children as one pattern."""

    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    children: str = ""
    text: str | None = None


_CODE = Rule({"csd-code": SOME, "codeSystemName": SOME, "originalText": SOME}, {"displayName": ANY})

RULES = {
    "AuditMessage": Rule(
        children="EventIdentification (ActiveParticipant )+AuditSourceIdentification "
        "(ParticipantObjectIdentification )*"
    ),
    "EventIdentification": Rule(
        {"EventDateTime": DATE_TIME, "EventOutcomeIndicator": "0|4|8|12"},
        {"EventActionCode": "[CRUDE]"},
        "EventID (EventTypeCode )*(EventOutcomeDescription )?",
    ),
    "EventID": _CODE,
    "EventTypeCode": _CODE,
    "EventOutcomeDescription": Rule(text=ANY),
    "ActiveParticipant": Rule(
        {"UserID": SOME, "UserIsRequestor": "true|false|0|1"},
        {
            "AlternativeUserID": ANY,
            "UserName": ANY,
            "NetworkAccessPointID": SOME,
            "NetworkAccessPointTypeCode": "[1-5]",
        },
        "(RoleIDCode )*(MediaIdentifier )?",
    ),
    "RoleIDCode": _CODE,
    "AuditSourceIdentification": Rule(
        {"AuditSourceID": SOME}, {"AuditEnterpriseSiteID": SOME}, "(AuditSourceTypeCode )*"
    ),
    "AuditSourceTypeCode": Rule(
        {"csd-code": "[1-9]"}, {"codeSystemName": SOME, "displayName": ANY, "originalText": SOME}
    ),
    "ParticipantObjectIdentification": Rule(
        {"ParticipantObjectID": SOME},
        {
            "ParticipantObjectTypeCode": "[1-4]",
            "ParticipantObjectTypeCodeRole": "1?[0-9]|2[0-6]",
            "ParticipantObjectDataLifeCycle": "[1-9]|1[0-5]",
            "ParticipantObjectSensitivity": SOME,
        },
        "ParticipantObjectIDTypeCode (ParticipantObjectName |ParticipantObjectQuery )"
        "(ParticipantObjectDetail )*(ParticipantObjectDescription )*",
    ),
    "ParticipantObjectIDTypeCode": _CODE,
    "ParticipantObjectName": Rule(text=ANY),
    "ParticipantObjectQuery": Rule(text=BASE64),
    "ParticipantObjectDetail": Rule({"type": SOME, "value": BASE64}),
    "ParticipantObjectDescription": Rule(
        children="(MPPS )*(Accession )*(SOPClass )*(ParticipantObjectContainsStudy )?"
        "(Encrypted )?(Anonymized )?"
    ),
    "SOPClass": Rule({"NumberOfInstances": r"\d+"}, {"UID": UID}, "(Instance )*"),
    "Instance": Rule({"UID": UID}),
}


def checked(message: bytes) -> Element:
    """The parsed message, after a check of every element; AssertionError says what is wrong."""
    root = fromstring(message)  # noqa: S314  our own message
    assert root.tag == "AuditMessage"
    for element in root.iter():
        rule = RULES.get(element.tag)
        assert rule is not None, f"there is no element {element.tag}"
        allowed = {**rule.required, **rule.optional}
        for name in rule.required:
            assert name in element.attrib, f"{element.tag} lacks {name}"
        for name, value in element.attrib.items():
            assert name in allowed, f"{element.tag} has no attribute {name}"
            assert re.fullmatch(allowed[name], value), f"{element.tag} {name}={value!r}"
        children = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(rule.children, children), f"{element.tag} holds {children}"
        text = (element.text or "").strip()
        assert re.fullmatch(rule.text or "", text), f"{element.tag} says {text!r}"
    requestors = [p for p in root.iter("ActiveParticipant") if p.get("UserIsRequestor") == "true"]
    assert len(requestors) <= 1, "A.5.3: a single user is the requestor"
    return root


def code(element: Element, name: str) -> tuple[str, str, str]:
    """Value, scheme and meaning of the coded child `name`."""
    found = element.find(f".//{name}")
    assert found is not None, f"there is no {name}"
    return found.attrib["csd-code"], found.attrib["codeSystemName"], found.attrib["originalText"]


def objects(root: Element) -> dict[str, Element]:
    """The participant objects by the code value of their ID type."""
    found = root.findall("ParticipantObjectIdentification")
    return {code(item, "ParticipantObjectIDTypeCode")[0]: item for item in found}


def roles(root: Element) -> dict[str, Element]:
    """The active participants by the code value of their role; without a role under ""."""
    return {
        (participant[0].attrib["csd-code"] if len(participant) else ""): participant
        for participant in root.findall("ActiveParticipant")
    }
