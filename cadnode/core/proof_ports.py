"""The seams of storage commitment, both ways: the database, the archive, and who asks us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from cadnode.core.commitment import CommitmentRequest, KeptImage, NewRequest, RequestStatus
from cadnode.core.proof import (
    AskOutcome,
    CommitmentReport,
    FindOutcome,
    Proof,
    ProofDecision,
    ReportTaken,
)


class ProofStore(Protocol):
    """The part of the job database that knows which delivered objects await a proof.

    The rules of `ExamStore` hold here too. A proof is due from `record_delivery` on.
    """

    def claim_proofs(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Proof]:
        """What is to be proved at one destination now, oldest first. Counts a try for each."""
        ...

    def renew_proofs(self, proofs: Sequence[Proof], *, now: datetime, lease: timedelta) -> None:
        """Hold those that are still held for another `lease`. Raises LeaseLost when none is."""
        ...

    def record_request(
        self,
        proofs: Sequence[Proof],
        transaction_uid: str,
        *,
        report_due_at: datetime,
        now: datetime,
    ) -> None:
        """Write down, before it is done, that the destination is asked to commit to these.

        From now on a report of this transaction counts; one of an earlier transaction counts for
        what it commits to and not for what it does not. Raises LeaseLost when one is not held.
        """
        ...

    def record_report(self, report: CommitmentReport, *, by: str, now: datetime) -> ReportTaken:
        """Take in what a destination reports, whoever holds the proofs; `by` names the reporter.

        Objects that the transaction did not name, or that were delivered again since, are left
        as they are. The first report of a transaction counts.
        """
        ...

    def record_proof(self, proof: Proof, decision: ProofDecision, *, now: datetime) -> None:
        """Write down what follows for one proof, end the lease, and move the exam on or back.

        DELIVER_AGAIN makes the delivery pending again, unless a newer revision has superseded the
        exam: then the proof is given up. FAIL makes the delivery, and its exam, failed.
        """
        ...


class CommitmentStore(Protocol):
    """The part of the job database that knows who asked this node to commit to what."""

    def accept_request(
        self, request: NewRequest, *, owner: str, now: datetime, lease: timedelta
    ) -> CommitmentRequest:
        """Keep a request; it may be answered with success once this has returned.

        The caller holds it for `lease`. The same transaction of the same sender again takes the
        place of the first.
        """
        ...

    def claim_request(
        self, owner: str, *, now: datetime, lease: timedelta
    ) -> CommitmentRequest | None:
        """The request that has been due longest, or None. Counts a try."""
        ...

    def kept_images(self, sop_instance_uids: Sequence[str]) -> Mapping[str, KeptImage]:
        """Those of the images whose file has not been purged, by SOP Instance UID."""
        ...

    def release_request(
        self, request: CommitmentRequest, *, due_at: datetime, text: str, now: datetime
    ) -> None:
        """Hand the request back until `due_at`; `text` says why it is not answered yet."""
        ...

    def end_request(
        self,
        request: CommitmentRequest,
        status: RequestStatus,
        *,
        report: CommitmentReport | None = None,
        text: str = "",
        now: datetime,
    ) -> None:
        """ANSWERED with the report that was taken, or GIVEN_UP with the reason."""
        ...


class Prover(Protocol):
    """Asks one destination whether it holds what it was sent."""

    def ask(
        self,
        transaction_uid: str,
        proofs: Sequence[Proof],
        *,
        before: Callable[[], None],
        on_report: Callable[[CommitmentReport], ReportTaken],
    ) -> AskOutcome:
        """Request storage commitment. `before` runs when the destination is about to be asked,
        `on_report` when it reports on the same association.

        Never raises for trouble at the other end; what the two callables raise comes through.
        """
        ...

    def find(self, proofs: Sequence[Proof]) -> FindOutcome:
        """Which of them the destination names in answer to C-FIND at IMAGE level."""
        ...


class CommitmentReporter(Protocol):
    """Brings a report to the one who asked, over an association of our own."""

    def report(self, request: CommitmentRequest, report: CommitmentReport) -> str | None:
        """None when it was taken, else why not. Never raises for trouble at the other end."""
        ...
