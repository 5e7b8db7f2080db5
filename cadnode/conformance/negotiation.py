"""What is accepted and proposed on associations: taken from the functions that do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cadnode.conformance.names import name_of
from cadnode.dimse.commitment_messages import commitment_context
from cadnode.dimse.commitment_reporter import reporting_roles
from cadnode.dimse.contexts import VERIFICATION, proposed_contexts, received_contexts
from cadnode.dimse.find import find_context
from cadnode.dimse.retrieve import get_contexts, move_contexts
from cadnode.dimse.scu import check_contexts
from cadnode.dimse.sub_operations import STUDY_ROOT_GET, receiving_roles

SCU, SCP, EITHER = "SCU", "SCP", "SCU or SCP"


@dataclass(frozen=True, slots=True)
class Offer:
    """One presentation context, or all those of one SOP class that differ in nothing else."""

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]
    role: str
    """Ours."""
    extended: str = "none"
    """Extended negotiation."""

    @property
    def name(self) -> str:
        """Of the SOP class."""
        return name_of(self.sop_class_uid)


def accepted() -> list[Offer]:
    """What the port takes from a peer that may store."""
    storage = [_offer(context, SCP) for context in received_contexts()]
    # Whoever reports on our own request is the SCP; the port takes either role.
    return [*storage, _offer(commitment_context(), EITHER, "role selection, either role")]


def accepted_of_guests() -> list[Offer]:
    """What it takes from one that may not."""
    return [offer for offer in accepted() if offer.sop_class_uid == VERIFICATION or _both(offer)]


def delivery(objects: Iterable[tuple[str, str]]) -> list[Offer]:
    """To send result objects of (SOP class, transfer syntax)."""
    return _merged(_offer(context, SCU) for context in proposed_contexts(objects))


def check(sop_class_uids: Iterable[str]) -> list[Offer]:
    """To see whether a peer answers, and takes objects or requests of these classes."""
    return _merged(_offer(context, SCU) for context in check_contexts(sop_class_uids))


def commitment() -> list[Offer]:
    """To ask an archive to commit."""
    return [_offer(commitment_context(), SCU)]


def commitment_report() -> list[Offer]:
    """To report to a sender."""
    return _with_roles([commitment_context()], reporting_roles())


def find() -> list[Offer]:
    """To ask an archive what it holds."""
    return [_offer(find_context(), SCU)]


def get() -> list[Offer]:
    """To fetch images on our association."""
    contexts = get_contexts()
    return _with_roles(contexts, receiving_roles(contexts, STUDY_ROOT_GET))


def move() -> list[Offer]:
    """To have images sent to our port."""
    return [_offer(context, SCU) for context in move_contexts()]


def _both(offer: Offer) -> bool:
    return offer.role == EITHER


def _offer(context: Any, role: str, extended: str = "none") -> Offer:
    syntaxes = tuple(str(uid) for uid in context.transfer_syntax)
    return Offer(str(context.abstract_syntax), syntaxes, role, extended)


def _with_roles(contexts: Sequence[Any], roles: Sequence[Any]) -> list[Offer]:
    ours = {str(role.sop_class_uid) for role in roles if role.scp_role}
    return _merged(
        _offer(context, SCP, "role selection, SCP")
        if str(context.abstract_syntax) in ours
        else _offer(context, SCU)
        for context in contexts
    )


def _merged(offers: Iterable[Offer]) -> list[Offer]:
    return list(_by_class(offers))


def _by_class(offers: Iterable[Offer]) -> Iterator[Offer]:
    """One for each SOP class: where each syntax has a context of its own, they stand together."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for offer in offers:
        key = (offer.sop_class_uid, offer.role, offer.extended)
        found.setdefault(key, []).extend(offer.transfer_syntax_uids)
    for (sop_class, role, extended), syntaxes in found.items():
        yield Offer(sop_class, tuple(dict.fromkeys(syntaxes)), role, extended)
