"""Committing to what senders gave us (PS3.4 annex J, as SCP): judged from what lies on the disk.

A request is kept in the database before it is answered. The receiver reports on the association of
the request while that stands; the lane here takes over what it could not, and what it left behind
when it was killed, over an association of our own, until the sender has taken the report.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from cadnode.core.commitment import (
    CommitmentRequest,
    KeptImage,
    NewRequest,
    RequestStatus,
    report_on,
)
from cadnode.core.errors import LeaseLost
from cadnode.core.proof import CommitmentReport
from cadnode.core.proof_ports import CommitmentReporter, CommitmentStore
from cadnode.core.retry import RetryRules, backoff

log = structlog.get_logger(__name__)


class Committer:
    """Keeps requests, judges them, and writes down what became of the reports."""

    def __init__(
        self,
        store: CommitmentStore,
        is_whole: Callable[[KeptImage], bool],
        *,
        owner: str,
        lease: timedelta,
        reaches: Callable[[CommitmentRequest], bool],
        retry: RetryRules,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`is_whole`: does the file lie there with its size? `reaches`: do the settings say where
        the one who asked listens?"""
        self._store = store
        self._is_whole = is_whole
        self._owner = owner
        self._lease = lease
        self._reaches = reaches
        self._retry = retry
        self._clock = clock
        self._jitter = jitter

    def accept(self, request: NewRequest) -> CommitmentRequest:
        """Keep a request; the caller has one lease to report on it. Raises DatabaseUnavailable."""
        return self._store.accept_request(
            request, owner=self._owner, now=self._clock(), lease=self._lease
        )

    def claim(self) -> CommitmentRequest | None:
        """A request whose report is due."""
        return self._store.claim_request(self._owner, now=self._clock(), lease=self._lease)

    def judge(self, request: CommitmentRequest) -> CommitmentReport:
        """What the node commits to at this moment, and what it does not."""
        uids = list(dict.fromkeys(item.sop_instance_uid for item in request.items))
        kept = self._store.kept_images(uids)
        return report_on(request.transaction_uid, request.items, kept, self._is_whole)

    def taken(self, request: CommitmentRequest, report: CommitmentReport) -> None:
        """Write down that the sender has the report."""
        try:
            self._store.end_request(
                request, RequestStatus.ANSWERED, report=report, now=self._clock()
            )
        except LeaseLost:
            # Somebody else reports a second time, which does no harm.
            return
        log.info(
            "committed",
            calling_ae=request.calling_ae,
            transaction_uid=request.transaction_uid,
            committed=len(report.committed),
            failed=len(report.failed),
        )

    def not_taken(self, request: CommitmentRequest, text: str) -> None:
        """Write down why the sender does not have the report; later again, or given up."""
        now = self._clock()
        patience_ends = now - request.requested_at >= self._retry.give_up_after
        try:
            if patience_ends or not self._reaches(request):
                self._store.end_request(request, RequestStatus.GIVEN_UP, text=text, now=now)
                gone = True
            else:
                due_at = now + backoff(request.tries, self._jitter(), self._retry)
                self._store.release_request(request, due_at=due_at, text=text, now=now)
                gone = False
        except LeaseLost:
            return
        log.warning(
            "commitment report not taken",
            calling_ae=request.calling_ae,
            transaction_uid=request.transaction_uid,
            given_up=gone,
            detail=text,
        )


class CommitmentLane:
    """Brings reports to senders over associations of our own."""

    name = "commitment to senders"

    def __init__(self, committer: Committer, reporter: CommitmentReporter) -> None:
        self._committer = committer
        self._reporter = reporter

    def run_once(self) -> bool:
        """Report on the request that has been due longest."""
        request = self._committer.claim()
        if request is None:
            return False
        report = self._committer.judge(request)
        problem = self._reporter.report(request, report)
        if problem is None:
            self._committer.taken(request, report)
        else:
            self._committer.not_taken(request, problem)
        return True
