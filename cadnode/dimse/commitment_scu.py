"""Asking a destination whether it holds what it was sent: storage commitment (PS3.4 annex J) as
SCU, and C-FIND at IMAGE level (annex C)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION

from cadnode.core.commitment import CommitmentItem
from cadnode.core.proof import (
    AskAnswer,
    AskOutcome,
    CommitmentReport,
    FindAnswer,
    FindOutcome,
    Proof,
    ReportTaken,
)
from cadnode.core.retry import SendCause
from cadnode.dimse.commitment_events import ReportProvider
from cadnode.dimse.commitment_messages import (
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    STORAGE_COMMITMENT,
    commitment_context,
    encoded,
    request_data_set,
)
from cadnode.dimse.destination import Destination, Line, Timeouts, Trouble, within
from cadnode.dimse.find import PENDING, STUDY_ROOT_FIND, find_context

LINGER_SECONDS = 3.0
"""An archive that reports on the association of the request does it at once."""

LOOK_SECONDS = 0.02

NOT_OFFERED = frozenset({0x0112, 0x0118, 0x0122, 0x0123, 0x0124, 0x0211})
"""Answers of one who does not commit at all, or not to us (PS3.7 annex C)."""

DONE = frozenset({0x0000, 0x0107, 0x0116})


class DicomProver:
    """Asks one destination; a `Prover` of core/proof_ports.py."""

    def __init__(
        self,
        destination: Destination,
        own_ae_title: str,
        timeouts: Timeouts | None = None,
        *,
        linger: float = LINGER_SECONDS,
    ) -> None:
        self._destination = destination
        self._own_ae_title = own_ae_title
        self._timeouts = timeouts or Timeouts()
        self._linger = linger

    def ask(
        self,
        transaction_uid: str,
        proofs: Sequence[Proof],
        *,
        before: Callable[[], None],
        on_report: Callable[[CommitmentReport], ReportTaken],
    ) -> AskOutcome:
        """See Prover.ask."""
        line = self._line()
        request = request_data_set(
            transaction_uid,
            [CommitmentItem(p.result.sop_class_uid, p.result.sop_instance_uid) for p in proofs],
        )
        outcome = within(
            self._timeouts.delivery,
            lambda: _ask(
                line,
                request,
                before,
                on_report,
                linger=self._linger,
                patience=self._timeouts.answer,
            ),
            line.cut,
        )
        return outcome or AskOutcome(AskAnswer.NO_ANSWER, "the time for it was over")

    def find(self, proofs: Sequence[Proof]) -> FindOutcome:
        """See Prover.find. What was found before the line broke counts."""
        line = self._line()
        outcome = within(self._timeouts.delivery, lambda: _find(line, proofs), line.cut)
        return outcome or FindOutcome(FindAnswer.NO_ANSWER, detail="the time for it was over")

    def _line(self) -> Line:
        return Line(self._destination, self._own_ae_title, self._timeouts)


def _ask(
    line: Line,
    request: Dataset,
    before: Callable[[], None],
    on_report: Callable[[CommitmentReport], ReportTaken],
    *,
    linger: float,
    patience: float,
) -> AskOutcome:
    trouble = line.open([commitment_context()], provider=ReportProvider)
    if trouble is not None:
        offered = trouble.cause is not SendCause.CONTEXT_REJECTED
        return _no_answer(trouble) if offered else AskOutcome(AskAnswer.NOT_OFFERED)
    before()
    provider = cast("ReportProvider", line.association.dimse)
    by = str(line.association.remote["ae_title"]).strip()
    reported: list[str | None] = []

    def answer_reports() -> None:
        reported.append(provider.answer(by, lambda report, _by: on_report(report), LOOK_SECONDS))

    context = line.association.accepted_contexts[0]
    message = _action(request, str(context.transfer_syntax[0]))
    response = provider.ask(message, int(context.context_id or 0), answer_reports, patience)
    if response is None or response.Status is None:
        return _no_answer(line.after_silence())
    if response.Status in DONE:
        ends = time.monotonic() + linger
        while (
            request.TransactionUID not in reported
            and line.association.is_established
            and time.monotonic() < ends
        ):
            answer_reports()
        line.close()
        return AskOutcome(AskAnswer.ACCEPTED)
    line.close()
    refused = AskAnswer.NOT_OFFERED if response.Status in NOT_OFFERED else AskAnswer.REFUSED
    return AskOutcome(refused, f"N-ACTION answered 0x{response.Status:04X}")


def _action(request: Dataset, transfer_syntax_uid: str) -> N_ACTION:
    message = N_ACTION()
    message.MessageID = 1
    message.RequestedSOPClassUID = UID(STORAGE_COMMITMENT)
    message.RequestedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
    message.ActionTypeID = REQUEST_COMMITMENT
    message.ActionInformation = encoded(request, transfer_syntax_uid)
    return message


def _no_answer(trouble: Trouble) -> AskOutcome:
    return AskOutcome(AskAnswer.NO_ANSWER, f"{trouble.cause}: {trouble.detail}")


def _find(line: Line, proofs: Sequence[Proof]) -> FindOutcome:
    trouble = line.open([find_context()])
    if trouble is not None:
        if trouble.cause is SendCause.CONTEXT_REJECTED:
            return FindOutcome(FindAnswer.NOT_OFFERED)
        return FindOutcome(FindAnswer.NO_ANSWER, detail=f"{trouble.cause}: {trouble.detail}")
    held: set[str] = set()
    for number, proof in enumerate(proofs):
        status = _look(line, proof, number, held)
        if status is None:
            return FindOutcome(FindAnswer.NO_ANSWER, frozenset(held), line.after_silence().detail)
        if status != 0x0000:
            line.close()
            refused = f"C-FIND answered 0x{status:04X}"
            none = FindAnswer.NOT_OFFERED if status in NOT_OFFERED else FindAnswer.NO_ANSWER
            return FindOutcome(none, frozenset(held), refused)
    line.close()
    return FindOutcome(FindAnswer.LOOKED, frozenset(held))


def _look(line: Line, proof: Proof, number: int, held: set[str]) -> int | None:
    """Add the object to `held` if the archive names it; the final status, None for silence."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = proof.study_instance_uid
    query.SeriesInstanceUID = proof.result.series_instance_uid
    query.SOPInstanceUID = proof.result.sop_instance_uid
    try:
        for status, identifier in line.association.send_c_find(
            query, STUDY_ROOT_FIND, msg_id=number % 65535 + 1
        ):
            code = status.get("Status")
            if code is None:
                return None
            if code not in PENDING:
                return int(code)
            uid = str(cast("Any", identifier or Dataset()).get("SOPInstanceUID") or "")
            if uid.strip("\x00 ") == proof.result.sop_instance_uid:
                held.add(proof.result.sop_instance_uid)
    except RuntimeError:
        # The peer ended the association since the last answer.
        return None
    return None
