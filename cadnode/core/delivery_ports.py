"""The seam between the job database and those who deliver."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from cadnode.core.breaker import BreakerRules, LineEvent, LineStatus
from cadnode.core.jobs import Delivery
from cadnode.core.retry import Decision, SendOutcome


class DeliveryStore(Protocol):
    """The part of the job database that knows what is due at which destination, and the line to it.

    The rules of `ExamStore` hold here too.
    """

    def claim_deliveries(
        self, destination: str, owner: str, *, now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Delivery]:
        """What is due at one destination, the highest priority first, then the oldest. Counts a
        try for each.

        What a newer revision has superseded meanwhile is withdrawn, not claimed."""
        ...

    def renew_deliveries(
        self, deliveries: Sequence[Delivery], *, now: datetime, lease: timedelta
    ) -> None:
        """Hold those that are still held for another `lease`. Raises LeaseLost when none is."""
        ...

    def record_delivery(
        self,
        delivery: Delivery,
        outcome: SendOutcome,
        decision: Decision,
        *,
        proof_due_at: datetime | None = None,
        now: datetime,
    ) -> None:
        """Write down the outcome, end the lease, and move the exam on when it was the last.

        What was stored is to be proved from `proof_due_at` on; None: no proof is wanted.

        A superseded delivery that did not end well is withdrawn, whatever the decision."""
        ...

    def release_deliveries(self, deliveries: Sequence[Delivery], *, now: datetime) -> None:
        """Hand claimed deliveries back untried (a clean stop): due at once, the try not counted."""
        ...

    # the line to each destination, see core/breaker.py

    def line(self, destination: str) -> LineStatus:
        """Where the line stands; closed for a destination never in trouble."""
        ...

    def hold_probe(self, destination: str, *, now: datetime, lease: timedelta) -> bool:
        """True for one caller when the line is open and its probe is due; the next caller is
        due after `lease`."""
        ...

    def renew_probe(self, destination: str, *, now: datetime, lease: timedelta) -> None:
        """Keep the next caller off for another `lease`, while the probe runs."""
        ...

    def note_line(
        self,
        destination: str,
        event: LineEvent,
        *,
        error: str,
        jitter: float,
        rules: BreakerRules,
        give_up_after: timedelta,
        now: datetime,
    ) -> LineStatus:
        """Write down what was heard of a destination; returns where its line stands now.

        When the line closes, what waits for it is due at once. While it is open, silence stands
        for a try of all that is due, but uses none up: the clock of what was never tried starts,
        and what has waited longer than `give_up_after` fails (E603).
        """
        ...
