"""The DICOM Conformance Statement (PS3.2), made from the code and the settings in force.

Text stands in `templates/`, one file for each chapter; what a table says is asked of the code that
does it. Tests compare the statement with what the port takes, what is proposed, and what is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cadnode import __version__
from cadnode.captures import MOST_ROWS
from cadnode.config import Settings
from cadnode.conformance import annexes, negotiation, parameters, security, statuses
from cadnode.conformance.names import hexadecimal, name_of
from cadnode.conformance.objects import Objects, build_objects
from cadnode.conformance.tables import code, table
from cadnode.core.breaker import BreakerRules
from cadnode.core.eligibility import MAMMOGRAPHY_CLASSES
from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from cadnode.dimse import association_request
from cadnode.dimse.commitment_messages import MOST_ITEMS, STORAGE_COMMITMENT
from cadnode.dimse.commitment_scu import LINGER_SECONDS
from cadnode.dimse.contexts import (
    RECEIVED_SOP_CLASSES,
    RECEIVED_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
)
from cadnode.dimse.destination import USUAL_PDU, Timeouts
from cadnode.dimse.find import MOST_ANSWERS, STUDY_ROOT_FIND
from cadnode.dimse.retrieve import SILENCE_SECONDS
from cadnode.dimse.sub_operations import (
    LONGEST_PDU,
    MOST_IMAGES_AT_ONCE,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from cadnode.network import scp_settings
from cadnode.proof_parts import HAND_OVER
from cadnode.proving import PROOFS_AT_ONCE
from cadnode.pulling import MOST_STUDIES

CONTEXT_HEADINGS = ("Abstract syntax", "UID", "Transfer syntaxes", "Role", "Extended negotiation")


def conformance_statement(settings: Settings) -> str:
    """The statement in Markdown. Raises ConfigError when the settings name unusable TLS files."""
    objects = build_objects(settings)
    environment = Environment(
        loader=PackageLoader("cadnode.conformance"),
        autoescape=False,  # noqa: S701  Markdown for a person, from our own settings
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "hex": hexadecimal, "uid_name": name_of}
    text = environment.get_template("statement.md").render(
        **_values(settings, objects), **_tables(settings, objects)
    )
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _values(settings: Settings, objects: Objects) -> dict[str, Any]:
    scp = scp_settings(settings, settings.node.data_dir)
    return {
        "version": __version__,
        "settings": settings,
        "ae_title": settings.node.ae_title,
        "scp": scp,
        "timeouts": Timeouts(delivery=settings.delivery.deadline_seconds),
        "breaker": BreakerRules.beside(settings.retry_rules),
        "implementation_class_uid": IMPLEMENTATION_CLASS_UID,
        "implementation_version_name": IMPLEMENTATION_VERSION_NAME,
        "patience": statuses.patience(settings.retry_rules),
        "largest_pdu": scp.max_pdu,
        "usual_pdu": USUAL_PDU,
        "retrieve_pdu": LONGEST_PDU,
        "most_items": MOST_ITEMS,
        "most_request_items": association_request.MOST_ITEMS,
        "most_sub_items": association_request.MOST_SUB_ITEMS,
        "most_rows": MOST_ROWS,
        "most_proofs": PROOFS_AT_ONCE,
        "most_pulled": MOST_STUDIES,
        "most_answers": MOST_ANSWERS,
        "most_images": MOST_IMAGES_AT_ONCE,
        "silence_seconds": SILENCE_SECONDS,
        "linger_seconds": LINGER_SECONDS,
        "hand_over_seconds": HAND_OVER / timedelta(seconds=1),
        "analyzed_classes": [name_of(uid) for uid in sorted(MAMMOGRAPHY_CLASSES)],
        "kinds": objects.kinds,
        "detections": annexes.values_of(objects, "111022"),
        "analyses": annexes.values_of(objects, "111004"),
        "value_types": annexes.value_types(objects),
        "objects": annexes.per_kind(objects),
    }


def _tables(settings: Settings, objects: Objects) -> dict[str, str]:
    created = list(dict.fromkeys(objects.kinds.values()))
    sent = [
        (objects.kinds[kind], syntax)
        for kind in objects.kinds
        for syntax in objects.transfer_syntaxes(kind)
    ]
    asked = (STORAGE_COMMITMENT, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE)
    return {
        "services_table": _services(created),
        "syntaxes_table": _transfer_syntaxes(),
        "accepted_table": _contexts(
            "Table 4-14. Accepted presentation contexts", negotiation.accepted()
        ),
        "guests_table": _contexts(
            "Table 4-15. Accepted of a peer that may not store", negotiation.accepted_of_guests()
        ),
        "delivery_table": _contexts(
            "Table 4-2. Proposed to send results", negotiation.delivery(dict.fromkeys(sent))
        ),
        "commitment_table": _contexts(
            "Table 4-5. Proposed to ask for commitment", negotiation.commitment()
        ),
        "find_table": _contexts("Table 4-8. Proposed for queries", negotiation.find()),
        "get_table": _contexts("Table 4-9. Proposed for C-GET", negotiation.get()),
        "move_table": _contexts("Table 4-10. Proposed for C-MOVE", negotiation.move()),
        "report_table": _contexts(
            "Table 4-12. Proposed to report a commitment", negotiation.commitment_report()
        ),
        "check_table": _contexts(
            "Table 4-1. Proposed to verify a peer", negotiation.check([*created, *asked])
        ),
        "store_answers_table": _status_table(
            "Table 4-3. Answers to C-STORE that a destination gives", statuses.store_answers()
        ),
        "troubles_table": table(
            "Table 4-4. Communication failures",
            ("What happens", "What the node does"),
            [(row.codes, row.behaviour) for row in statuses.store_troubles()],
        ),
        "action_answers_table": _status_table(
            "Table 4-6. Answers to N-ACTION that a destination gives", statuses.action_answers()
        ),
        "report_answers_table": _status_table(
            "Table 4-13. Answers to N-EVENT-REPORT that a sender gives", statuses.report_answers()
        ),
        "reasons_table": table(
            "Table 4-7. Failure Reasons in the report of a destination",
            ("Failure Reason", "Meaning"),
            statuses.failure_reasons(),
        ),
        "retrieve_answers_table": _status_table(
            "Table 4-11. Final answers to C-GET and C-MOVE", statuses.retrieve_answers()
        ),
        "store_statuses_table": table(
            "Table 4-16. Answers of the node to C-STORE",
            ("Status", "Meaning", "When"),
            [(hexadecimal(key), *said) for key, said in sorted(statuses.STORE_STATUSES.items())],
        ),
        "action_statuses_table": _answers(
            "Table 4-17. Answers of the node to N-ACTION", statuses.ACTION_STATUSES
        ),
        "event_statuses_table": _answers(
            "Table 4-19. Answers of the node to N-EVENT-REPORT", statuses.EVENT_STATUSES
        ),
        "committed_reasons_table": table(
            "Table 4-18. Failure Reasons in the reports of the node",
            ("Failure Reason", "Meaning"),
            [(hexadecimal(key), said) for key, said in sorted(statuses.COMMITTED_REASONS.items())],
        ),
        "local_table": table(
            "Table 4-20. Local AE title",
            ("AE title", "Port", "TLS"),
            parameters.local(settings),
        ),
        "remote_table": table(
            "Table 4-21. Remote AE titles",
            ("Name", "AE title", "Host", "Port", "TLS", "What it is to the node"),
            parameters.remote(settings),
        ),
        "parameters_table": table(
            "Table 4-22. Parameters",
            ("Parameter", "Value", "Meaning"),
            parameters.single(settings),
        ),
        "repeated_table": table(
            "Table 4-23. Parameters of each remote AE",
            ("Parameter", "Default", "Meaning"),
            parameters.repeated(),
        ),
        "tls_table": table(
            "Table 8-1. TLS cipher suites",
            ("Version", "Cipher suite", "Number"),
            security.suites(),
        ),
        "audit_table": table(
            "Table 8-2. Audit messages",
            ("Event ID", "Event type", "When"),
            security.audit_messages(),
        ),
        "tls_versions": security.versions(),
        "codes_table": annexes.codes_table(objects),
        "groups_table": annexes.groups_table(objects),
        "templates_table": annexes.templates_table(),
        "common_table": annexes.common_table(objects),
    }


def _services(created: Sequence[str]) -> str:
    yes, no = "yes", "no"
    rows = [("**Transfer**", "", "", "")]
    rows += [
        (name_of(uid), code(uid), yes, no) for uid in created if uid not in RECEIVED_SOP_CLASSES
    ]
    rows += [
        (name_of(uid), code(uid), yes if uid in created else no, yes)
        for uid in RECEIVED_SOP_CLASSES
    ]
    rows += [
        ("**Workflow management**", "", "", ""),
        (name_of(STORAGE_COMMITMENT), code(STORAGE_COMMITMENT), yes, yes),
        ("**Query/Retrieve**", "", "", ""),
        *(
            (name_of(uid), code(uid), yes, no)
            for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE)
        ),
        ("**Verification**", "", "", ""),
        (name_of(VERIFICATION), code(VERIFICATION), yes, yes),
    ]
    return table(
        "Table 1-1. Network services",
        ("SOP class", "UID", "User of service (SCU)", "Provider of service (SCP)"),
        rows,
    )


def _contexts(caption: str, offers: Iterable[negotiation.Offer]) -> str:
    return table(
        caption,
        CONTEXT_HEADINGS,
        [
            (
                offer.name,
                code(offer.sop_class_uid),
                _syntaxes(offer.transfer_syntax_uids),
                offer.role,
                offer.extended,
            )
            for offer in offers
        ],
    )


def _syntaxes(uids: Sequence[str]) -> str:
    """The name of the set in table 1-2 that they are, else their UIDs."""
    for name, members in (
        ("uncompressed", UNCOMPRESSED_TRANSFER_SYNTAXES),
        ("lossless", RECEIVED_TRANSFER_SYNTAXES),
    ):
        if set(uids) == set(members):
            return name
    return ", ".join(map(code, uids))


def _transfer_syntaxes() -> str:
    return table(
        "Table 1-2. Transfer syntaxes",
        ("Transfer syntax", "UID", "Sets it belongs to"),
        [
            (
                name_of(uid),
                code(uid),
                "lossless, uncompressed" if uid in UNCOMPRESSED_TRANSFER_SYNTAXES else "lossless",
            )
            for uid in RECEIVED_TRANSFER_SYNTAXES
        ],
    )


def _status_table(caption: str, rows: Iterable[statuses.StatusRow]) -> str:
    return table(
        caption,
        ("Status", "Meaning", "What the node does"),
        [tuple(asdict(row).values()) for row in rows],
    )


def _answers(caption: str, answers: Any) -> str:
    return table(
        caption,
        ("Status", "When"),
        [(hexadecimal(status), when) for status, when in sorted(answers.items())],
    )
