"""The conformance statement against the network: what the port takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pynetdicom import AE, build_context, build_role
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.dimse.association_request import MOST_SUB_ITEMS
from cadnode.dimse.commitment_messages import STORAGE_COMMITMENT
from cadnode.dimse.contexts import VERIFICATION
from tests.integration.statement import SOP_CLASSES, TRANSFER_SYNTAXES, Statement, plain, written

MOST_CONTEXTS = (MOST_SUB_ITEMS - 10) // (len(TRANSFER_SYNTAXES) + 1)
"""Of one association with all transfer syntaxes in each: a request with more sub-items is aborted."""


@pytest.fixture(scope="module")
def statement() -> Statement:
    return written()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The real receiver; ROOM may store, PACS is a destination."""
    folder = tmp_path_factory.mktemp("node")
    config = folder / "site.toml"
    config.write_text(
        '[node]\nhost = "127.0.0.1"\nport = 0\ndata_dir = "data"\n[limits]\nmax_associations = 0\n'
        '[[peers]]\nname = "room"\nae_title = "ROOM"\n'
        '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    )
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    scp = app.storage_scp(store.exams, app.spool())
    scp.start()
    yield scp.port
    scp.stop()
    store.close()


def accepted(
    port: int, wanted: Sequence[tuple[str, Sequence[str]]], calling: str
) -> set[tuple[str, str]]:
    """Of (SOP class, transfer syntaxes), each a context of its own: what is accepted, and in which
    syntax."""
    found = set()
    for start in range(0, len(wanted), MOST_CONTEXTS):
        some = wanted[start : start + MOST_CONTEXTS]
        contexts = [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in some]
        with association(port, contexts, calling) as assoc:
            found |= {
                (str(context.abstract_syntax), str(context.transfer_syntax[0]))
                for context in assoc.accepted_contexts
            }
    return found


@contextmanager
def association(
    port: int, contexts: Sequence[Any], calling: str = "ROOM", items: Sequence[Any] = ()
) -> Iterator[Any]:
    """An association with the node; it need not be established."""
    ae = AE(calling)
    assoc = ae.associate("127.0.0.1", port, list(contexts), ae_title="CADNODE", ext_neg=list(items))
    yield assoc
    if assoc.is_established:
        assoc.release()


@pytest.mark.parametrize(
    ("calling", "caption"),
    [
        ("ROOM", "Accepted presentation contexts"),
        ("PACS", "Accepted of a peer that may not store"),
    ],
)
def test_the_port_accepts_what_the_statement_says_and_nothing_else(
    calling: str, caption: str, port: int, statement: Statement
) -> None:
    # A class that is refused with every syntax there is, is refused with each one.
    of_all = accepted(port, [(uid, TRANSFER_SYNTAXES) for uid in SOP_CLASSES], calling)
    classes = {sop_class for sop_class, _ in of_all}
    each = [(sop_class, [syntax]) for sop_class in classes for syntax in TRANSFER_SYNTAXES]

    taken = accepted(port, each, calling)

    said = statement.offered(caption)
    assert taken == {(one.sop_class_uid, one.transfer_syntax_uid) for one in said}
    assert len(SOP_CLASSES) > 250
    assert len(TRANSFER_SYNTAXES) > 40


def test_the_first_transfer_syntax_of_the_table_is_taken_where_the_choice_is_left_to_the_node(
    port: int, statement: Statement
) -> None:
    preferred = [plain(row["UID"]) for row in statement.table("Transfer syntaxes")]
    image = "1.2.840.10008.5.1.4.1.1.1.2"
    left = list(preferred)
    while left:
        assert accepted(port, [(image, list(reversed(left)))], "ROOM") == {(image, left[0])}
        left.pop(0)


def answer_items(assoc: Any) -> list[Any]:
    """The user information of the A-ASSOCIATE-AC."""
    primitive = assoc.acceptor.primitive
    assert isinstance(primitive, A_ASSOCIATE)
    return list(primitive.user_information)


@pytest.mark.parametrize("roles", [(True, True), (True, False), (False, True)])
def test_roles_are_negotiated_for_the_classes_of_which_the_statement_says_so(
    roles: tuple[bool, bool], port: int, statement: Statement
) -> None:
    said = statement.offered("Accepted presentation contexts")
    classes = sorted({one.sop_class_uid for one in said})
    contexts = [build_context(uid, ["1.2.840.10008.1.2"]) for uid in classes]
    items = [build_role(uid, scu_role=roles[0], scp_role=roles[1]) for uid in classes]

    with association(port, contexts, items=items) as assoc:
        answered = {
            str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role))
            for item in answer_items(assoc)
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
        }

    negotiated = {one.sop_class_uid for one in said if one.extended != "none"}
    assert answered == dict.fromkeys(negotiated, roles)
    assert negotiated == {STORAGE_COMMITMENT}


def test_no_other_extended_negotiation_is_answered_and_none_is_a_reason_to_refuse(
    port: int, statement: Statement
) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 5
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1.2"
    extended.service_class_application_information = b"\x02\x00\x03\x00\x01\x00"
    user = UserIdentityNegotiation()
    user.user_identity_type, user.primary_field = 1, b"somebody"
    user.positive_response_requested = True

    with association(port, [build_context(VERIFICATION)], items=[window, extended, user]) as assoc:
        assert assoc.is_established
        items = answer_items(assoc)
        assert assoc.send_c_echo().Status == 0x0000

    assert {type(item) for item in items} == {
        MaximumLengthNotification,
        ImplementationClassUIDNotification,
        ImplementationVersionNameNotification,
    }
    for item in items:
        if isinstance(item, MaximumLengthNotification):
            said = f"| {item.maximum_length_received} |"
        elif isinstance(item, ImplementationClassUIDNotification):
            said = f"| Implementation Class UID | `{item.implementation_class_uid}` |"
        else:
            said = f"| Implementation Version Name | `{item.implementation_version_name}` |"
        assert said in statement.text


@pytest.mark.parametrize(
    ("called", "calling", "said"),
    [("OTHER", "ROOM", "| calls another AE title |"), ("CADNODE", "WHO", "that no entry fits |")],
)
def test_rejections_have_the_reasons_of_the_statement(
    called: str, calling: str, said: str, port: int, statement: Statement
) -> None:
    assoc = AE(calling).associate("127.0.0.1", port, [build_context(VERIFICATION)], ae_title=called)
    assert assoc.is_rejected
    answer = assoc.acceptor.primitive
    assert isinstance(answer, A_ASSOCIATE)
    code = f"{answer.result}, {answer.result_source}, {answer.diagnostic}"
    assert f"{said} {code} |" in statement.text
