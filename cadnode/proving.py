"""The proof lane: asks each destination whether it holds what it said it stored.

One lane per destination, beside the one that delivers: a proof never holds up a delivery. What
follows from an answer is decided in `core/proof.py`; what is known of a proof is in the database,
so that a lane may be killed at any point and a report may come to another process.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from cadnode.core.errors import LeaseLost
from cadnode.core.metrics import PROOFS, Metrics, NoMetrics
from cadnode.core.proof import (
    AskAnswer,
    AskOutcome,
    CommitmentReport,
    FindAnswer,
    FindOutcome,
    Proof,
    ProofDecision,
    ProofRules,
    ProofVerdict,
    ProofWish,
    ReportTaken,
    after_asking,
    after_finding,
    before_asking,
    wants_find,
)
from cadnode.core.proof_ports import ProofStore, Prover
from cadnode.worker import Renewal

log = structlog.get_logger(__name__)

PROOFS_AT_ONCE = 100
"""Objects of one transaction at most."""

REMEMBERED = timedelta(hours=1)
"""How long a destination that does not offer a service is not asked for it again."""

_WELL = frozenset({ProofVerdict.COMMITTED, ProofVerdict.VERIFIED, ProofVerdict.AWAIT})


class ProofLane:
    """Claims what is to be proved at one destination, and asks."""

    def __init__(
        self,
        destination: str,
        wish: ProofWish,
        store: ProofStore,
        prover: Prover,
        *,
        owner: str,
        lease: timedelta,
        rules: ProofRules,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
        new_uid: Callable[[], str] = lambda: f"2.25.{uuid.uuid4().int}",
        reachable: Callable[[], bool] = lambda: True,
        metrics: Metrics | None = None,
    ) -> None:
        """`reachable`: False while the destination is known not to answer."""
        self.name = f"proof from {destination}"
        self._destination = destination
        self._wish = wish
        self._store = store
        self._prover = prover
        self._owner = owner
        self._lease = lease
        self._rules = rules
        self._clock = clock
        self._jitter = jitter
        self._new_uid = new_uid
        self._reachable = reachable
        self._metrics = metrics or NoMetrics()
        self._not_offered: dict[str, datetime] = {}

    def run_once(self) -> bool:
        """Ask about what is due."""
        if not self._reachable():
            return False
        proofs = self._store.claim_proofs(
            self._destination,
            self._owner,
            now=self._clock(),
            lease=self._lease,
            limit=PROOFS_AT_ONCE,
        )
        if not proofs:
            return False
        renew = Renewal(
            lambda: self._store.renew_proofs(proofs, now=self._clock(), lease=self._lease),
            self._lease,
        )
        with renew.running():
            self._prove(proofs)
        return True

    def _prove(self, proofs: Sequence[Proof]) -> None:
        settled = {
            proof: before_asking(
                proof,
                self._wish,
                finds=self._offers("find"),
                now=self._clock(),
                jitter=self._jitter(),
                rules=self._rules,
            )
            for proof in proofs
        }
        self._write(settled)
        to_ask = [proof for proof, decision in settled.items() if decision is None]
        to_find = [proof for proof in to_ask if self._is_for_find(proof)]
        to_ask = [proof for proof in to_ask if proof not in to_find]
        if to_ask:
            to_find += self._ask(to_ask)
        if to_find:
            self._find(to_find)

    def _ask(self, proofs: Sequence[Proof]) -> list[Proof]:
        """Request a commitment; returns those for which C-FIND is asked in its place."""
        uid = self._new_uid()
        outcome = self._prover.ask(
            uid,
            proofs,
            before=lambda: self._note_request(proofs, uid),
            on_report=self._take_report,
        )
        if outcome.answer is AskAnswer.NOT_OFFERED:
            self._not_offered["commitment"] = self._clock()
        decisions = self._after_asking(proofs, outcome)
        self._write(decisions)
        return [proof for proof, decision in decisions.items() if decision is None]

    def _find(self, proofs: Sequence[Proof]) -> None:
        outcome = self._prover.find(proofs)
        if outcome.answer is FindAnswer.NOT_OFFERED:
            self._not_offered["find"] = self._clock()
        self._write({proof: self._after_finding(proof, outcome) for proof in proofs})

    def _note_request(self, proofs: Sequence[Proof], transaction_uid: str) -> None:
        now = self._clock()
        self._store.record_request(
            proofs, transaction_uid, report_due_at=now + self._rules.report_within, now=now
        )

    def _take_report(self, report: CommitmentReport) -> ReportTaken:
        taken = self._store.record_report(report, by=self._destination, now=self._clock())
        if taken is ReportTaken.TAKEN:
            self._metrics.add(PROOFS, self._destination, "committed", by=len(report.committed))
            self._metrics.add(PROOFS, self._destination, "refused", by=len(report.failed))
        return taken

    def _after_asking(
        self, proofs: Sequence[Proof], outcome: AskOutcome
    ) -> Mapping[Proof, ProofDecision | None]:
        return {
            proof: after_asking(
                proof,
                outcome,
                self._wish,
                now=self._clock(),
                jitter=self._jitter(),
                rules=self._rules,
            )
            for proof in proofs
        }

    def _after_finding(self, proof: Proof, outcome: FindOutcome) -> ProofDecision:
        return after_finding(
            proof,
            outcome,
            commits=self._offers("commitment"),
            now=self._clock(),
            jitter=self._jitter(),
            rules=self._rules,
        )

    def _is_for_find(self, proof: Proof) -> bool:
        return wants_find(
            proof,
            self._wish,
            commits=self._offers("commitment"),
            finds=self._offers("find"),
            rules=self._rules,
        )

    def _offers(self, service: str) -> bool:
        since = self._not_offered.get(service)
        return since is None or self._clock() - since >= REMEMBERED

    def _write(self, decisions: Mapping[Proof, ProofDecision | None]) -> None:
        for proof, decision in decisions.items():
            if decision is not None:
                self._write_one(proof, decision)

    def _write_one(self, proof: Proof, decision: ProofDecision) -> None:
        try:
            self._store.record_proof(proof, decision, now=self._clock())
        except LeaseLost:
            # The report has come, to whichever process; or a person has given the proof up.
            return
        self._metrics.add(PROOFS, proof.destination, str(decision.verdict))
        write = log.info if decision.verdict in _WELL else log.warning
        write(
            "proof",
            exam=proof.exam_id,
            destination=proof.destination,
            verdict=decision.verdict,
            detail=decision.text,
        )
