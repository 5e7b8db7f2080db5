"""One round: exams sent, faults injected, everything given time to settle, the oracle asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from cadnode.core.errors import CadnodeError
from tests.faults import observe
from tests.faults.inject import NotInjected, Scene, inject
from tests.faults.ledger import Ledger
from tests.faults.modality import make_images, send_until_acknowledged, study_uid
from tests.faults.oracle import ExamRow, Verdict, is_settled, judge
from tests.faults.plan import ARCHIVE, ExamPlan, Fault, Kind, Round
from tests.faults.site import Site

SEND_SECONDS = 180.0
"""A node that has not taken an exam after so long has not come back from its faults."""
REPORTED = ("reported", "delivered", "committed", "failed")


@dataclass
class Injected:
    """What became of one fault of the plan."""

    fault: Fault
    happened: bool
    how: str
    after: float
    """Seconds after the round began."""


@dataclass
class Outcome:
    """What one round was and how it ended."""

    plan: Round
    injected: list[Injected]
    verdict: Verdict
    sent: int
    """Images of this round that were acknowledged."""
    unsent: int
    exams: dict[str, int]
    seconds: float
    settled_after: float
    unplanned: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values for one line of the record."""
        return {
            "seed": self.plan.seed,
            "round": self.plan.number,
            "faults": [
                {**asdict(i.fault), "happened": i.happened, "how": i.how, "after": i.after}
                for i in self.injected
            ],
            "verdict": asdict(self.verdict),
            "sent": self.sent,
            "unsent": self.unsent,
            "exams": self.exams,
            "seconds": round(self.seconds, 1),
            "settled_after": round(self.settled_after, 1),
            "unplanned": self.unplanned,
            "troubles": self.troubles,
        }


class RoundRunner:
    """Runs one plan on a running site."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        plan: Round,
        *,
        settle_seconds: float,
        fsck: bool = True,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._plan = plan
        self._settle_seconds = settle_seconds
        self._fsck = fsck
        self._progress = progress
        self._begun = time.monotonic()
        self._injected: dict[int, Injected] = {}
        self._troubles: list[str] = []
        self._unsent = 0
        self._lock = threading.Lock()
        self._studies = {e.number: study_uid(plan.seed, plan.number, e.number) for e in plan.exams}
        self._scene = Scene(
            site,
            ledger,
            {e.number: make_images(self._studies[e.number], e) for e in plan.exams},
        )

    def run(self) -> Outcome:
        """The whole round."""
        log_at = self._site.log.stat().st_size
        self._site.fired = self._fired
        self._together(
            [lambda e=exam: self._send(e) for exam in self._plan.exams]
            + [lambda f=fault: self._inject(f) for fault in self._plan.faults]
        )
        sent = time.monotonic()
        self._progress("settling")
        settled = self._settle()
        if self._a_person_retries():
            settled = self._settle()
        for archive in self._site.archives.values():
            archive.disarm()
        self._progress("asking the oracle")
        verdict = judge(observe.look(self._site, self._ledger, fsck=self._fsck))
        exams = [e for e in observe.exam_rows(self._site) if self._is_ours(e)]
        with self._site.log.open(errors="replace") as log:
            log.seek(log_at)
            unplanned = observe.unplanned(log)
        return Outcome(
            self._plan,
            [self._injected.get(f.number) or _missed(f) for f in self._plan.faults],
            verdict,
            sent=sum(self._ledger.has(i) for own in self._scene.images.values() for i in own),
            unsent=self._unsent,
            exams=_counted(exams),
            seconds=time.monotonic() - self._begun,
            settled_after=settled - sent,
            unplanned=unplanned,
            troubles=self._troubles,
        )

    # ---- what happens at the same time -----------------------------------------------------

    def _together(self, calls: Sequence[Callable[[], None]]) -> None:
        threads = [
            threading.Thread(target=self._survive, args=(call,), daemon=True) for call in calls
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _survive(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  a broken injector is a finding, not an end
            self._troubles.append(f"{type(error).__name__}: {error}")

    def _send(self, exam: ExamPlan) -> None:
        images = self._scene.images[exam.number]
        first = images[: len(exam.views)]
        self._sleep_until(exam.at)
        ends = time.monotonic() + SEND_SECONDS
        acknowledged = send_until_acknowledged(self._site.port, first, self._ledger, ends=ends)
        if acknowledged and exam.late_view:
            self._wait_until_reported(exam, ends)
            acknowledged = send_until_acknowledged(self._site.port, images, self._ledger, ends=ends)
        if not acknowledged:
            with self._lock:
                self._unsent += 1
                self._troubles.append(f"exam {exam.number} was not taken in {SEND_SECONDS:.0f} s")

    def _wait_until_reported(self, exam: ExamPlan, ends: float) -> None:
        study = self._studies[exam.number]
        while time.monotonic() < min(ends, self._begun + 60):
            rows = self._site.rows("select status from jobs where study_instance_uid = ?", study)
            if any(row["status"] in REPORTED for row in rows):
                return
            time.sleep(0.2)

    def _inject(self, fault: Fault) -> None:
        self._sleep_until(fault.at)
        try:
            how = inject(fault, self._scene)
        except NotInjected as error:
            self._note(fault, False, str(error))
            return
        if fault.kind in ARCHIVE and fault.kind is not Kind.ARCHIVE_DOWN:
            return
        self._note(fault, True, how)

    def _fired(self, fault: Fault) -> None:
        self._note(fault, True, fault.target)

    def _note(self, fault: Fault, happened: bool, how: str) -> None:
        after = round(time.monotonic() - self._begun, 2)
        with self._lock:
            self._injected[fault.number] = Injected(fault, happened, how, after)
        self._progress(f"{fault.kind}" if happened else f"not: {fault.kind}")

    def _sleep_until(self, at: float) -> None:
        time.sleep(max(0.0, self._begun + at - time.monotonic()))

    # ---- afterwards ------------------------------------------------------------------------

    def _settle(self) -> float:
        """Wait until nothing is under way, or the time for that is over; when that was."""
        ends = time.monotonic() + self._settle_seconds
        while time.monotonic() < ends:
            images = observe.image_rows(self._site, with_files=False)
            known = {image.sop_instance_uid for image in images}
            here = all(image.sop_instance_uid in known for image in self._ledger.images())
            if (
                here
                and is_settled(observe.exam_rows(self._site), images)
                and not observe.pending(self._site)
                and not any((self._site.data / "incoming").glob("*.part"))
                and self._site.process("work", 0.1) is not None
            ):
                break
            time.sleep(0.25)
        return time.monotonic()

    def _a_person_retries(self) -> bool:
        """A person starts half of what failed again; the other half stays failed."""
        random = Random(f"{self._plan.seed}/{self._plan.number}/person")  # noqa: S311
        chosen = [
            exam.id
            for exam in observe.exam_rows(self._site)
            if self._is_ours(exam) and exam.status == "failed" and random.random() < 0.5
        ]
        if not chosen:
            return False
        with self._site.store() as store:
            for exam_id in chosen:
                try:
                    store.exams.retry(exam_id, by="a person", now=self._site.clock.now())
                except CadnodeError as error:
                    self._troubles.append(f"retry of exam {exam_id}: {error}")
        return True

    def _is_ours(self, exam: ExamRow) -> bool:
        return exam.study_instance_uid in self._studies.values()


def _missed(fault: Fault) -> Injected:
    return Injected(fault, False, "its moment did not come", 0.0)


def _counted(exams: Sequence[ExamRow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for exam in exams:
        key = f"{exam.status} {exam.error_code}" if exam.status == "failed" else exam.status
        counts[key] = counts.get(key, 0) + 1
    return counts
