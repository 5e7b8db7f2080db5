"""Many transactions at once on PostgreSQL: nobody waits for somebody who waits for them."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from cadnode.core.breaker import BreakerRules, LineEvent
from cadnode.core.errors import (
    DatabaseUnavailable,
    IllegalMove,
    LeaseLost,
    NotFound,
    StaleExam,
)
from cadnode.core.exam import ImageState
from cadnode.core.jobs import ExamStatus, Priority
from cadnode.core.proof import CommitmentReport, ProofDecision, ProofVerdict
from cadnode.core.retry import Decision, Verdict
from cadnode.storage.database import Database
from cadnode.storage.exam_store import SqlExamStore
from tests.contract.exams import DAY, DONE, LEASE, T0, new_image, result, sent
from tests.postgres import PostgreSQL, name_of

STUDIES = 4
ROUNDS = 60
WANTED = {"A": ["mammography-cad-sr"], "B": ["mammography-cad-sr"]}
AGAIN = Decision(Verdict.RETRY, "E601", "silent", T0)
HARMLESS = (IllegalMove, LeaseLost, NotFound, StaleExam)


class Life:
    """Everything that processes and persons do to the exams of a few studies, in any order."""

    def __init__(self, store: SqlExamStore, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)  # noqa: S311
        self.owner = f"w{seed}"
        self.now: datetime = T0
        self.done: Counter[str] = Counter()
        """How often each step went well."""

    def steps(self) -> list[Callable[[], object]]:
        """What one thread does; those that do most stand several times."""
        return [
            *[self.receive] * 3,
            *[self.analyze] * 4,
            *[self.deliver] * 4,
            *[self.prove] * 2,
            self.silence,
            *[self.person] * 3,
            self.purge,
        ]

    def live(self) -> None:
        """Do them, each in a transaction; what another one got first is no trouble."""
        for number in range(ROUNDS):
            self.now = T0 + number * timedelta(hours=1)
            step = self.random.choice(self.steps())
            try:
                step()
            except HARMLESS:
                continue
            self.done[step.__name__] += 1

    def receive(self) -> None:
        study, number = self.random.randrange(STUDIES), self.random.randrange(4)
        content = self.random.choice(["a", "a", "b"])
        self.store.accept(new_image(number, f"1.2.{study}", content=content), now=self.now)

    def analyze(self) -> None:
        exam = self.store.claim_exam(self.owner, now=self.now, lease=LEASE)
        if exam is None:
            return
        if exam.status is ExamStatus.RECEIVING:
            for image in exam.images:
                self.store.begin_image(exam, image.id, now=self.now)
                self.store.record_image(exam, image.id, state=ImageState.ANALYZED, now=self.now)
            self.store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=self.now)
            return
        known = self.store.predecessors(exam)
        objects = [result(exam.id)]
        self.store.record_results(exam, objects, WANTED, predecessors=known, now=self.now)

    def deliver(self) -> None:
        name = self.random.choice("AB")
        due = self.store.claim_deliveries(name, self.owner, now=self.now, lease=LEASE, limit=5)
        held = self.random.sample(due, len(due))
        self.store.renew_deliveries(held, now=self.now, lease=LEASE)
        for delivery in held:
            decision = self.random.choice([DONE, DONE, AGAIN])
            self.store.record_delivery(
                delivery, sent(delivery), decision, proof_due_at=self.now, now=self.now
            )

    def prove(self) -> None:
        name = self.random.choice("AB")
        proofs = self.store.claim_proofs(name, self.owner, now=self.now, lease=LEASE, limit=5)
        if not proofs:
            return
        uid = f"2.25.{self.random.getrandbits(60)}"
        self.store.record_request(proofs, uid, report_due_at=self.now + DAY, now=self.now)
        if self.random.random() < 0.5:
            held = tuple(proof.result.sop_instance_uid for proof in proofs)
            self.store.record_report(CommitmentReport(uid, held), by=name, now=self.now)
        for proof in proofs:
            verdict = self.random.choice([ProofVerdict.VERIFIED, ProofVerdict.DELIVER_AGAIN])
            self.store.record_proof(proof, ProofDecision(verdict, "so", self.now), now=self.now)

    def silence(self) -> None:
        event = self.random.choice([LineEvent.SILENT, LineEvent.ECHOED])
        self.store.note_line(
            self.random.choice("AB"),
            event,
            error="silent",
            jitter=0.5,
            rules=BreakerRules(),
            give_up_after=timedelta(hours=2),
            now=self.now,
        )

    def person(self) -> None:
        exam_id = self.random.randrange(1, 20)
        self.random.choice(
            [
                lambda: self.store.retry(exam_id, by="anna", now=self.now),
                lambda: self.store.resend(exam_id, WANTED, by="anna", now=self.now),
                lambda: self.store.reanalyze(exam_id, by="anna", now=self.now),
                lambda: self.store.set_priority(
                    exam_id, self.random.choice(list(Priority)), by="anna", now=self.now
                ),
                lambda: self.store.cancel(exam_id, why="a test", by="anna", now=self.now),
                lambda: self.store.drop_destination("B", why="a test", by="anna", now=self.now),
            ]
        )()

    def purge(self) -> None:
        for exam in self.store.purgeable(finished_before=self.now, limit=5):
            self.store.mark_purged(exam.exam_id, now=self.now)


def deadlocks(server: PostgreSQL, database: Database) -> int:
    name = name_of(database.name)
    ((count,),) = server.ask(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'")
    return int(count)


def test_whatever_happens_at_once_nothing_waits_in_a_circle(
    postgres: PostgreSQL, postgres_database: Database
):
    before = deadlocks(postgres, postgres_database)
    lives = [Life(SqlExamStore(postgres_database), seed) for seed in range(6)]
    with ThreadPoolExecutor(len(lives)) as pool:
        for ended in [pool.submit(life.live) for life in lives]:
            ended.result()
    postgres_database.close()
    done = sum((life.done for life in lives), Counter[str]())
    assert len(done) == len(set(lives[0].steps()))
    assert deadlocks(postgres, postgres_database) == before


def test_the_check_sees_two_that_wait_for_each_other(
    postgres: PostgreSQL, postgres_database: Database
):
    store = SqlExamStore(postgres_database)
    for number in range(2):
        store.accept(new_image(number, f"1.2.{number}"), now=T0)
    before, both = deadlocks(postgres, postgres_database), threading.Barrier(2)

    def change(first: int, then: int) -> bool:
        update = "UPDATE jobs SET tries = tries + 1 WHERE id = {}"
        try:
            with postgres_database.write() as connection:
                connection.exec_driver_sql(update.format(first))
                both.wait()
                connection.exec_driver_sql(update.format(then))
        except DatabaseUnavailable:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        ways = [pool.submit(change, 1, 2), pool.submit(change, 2, 1)]
        assert sorted(way.result() for way in ways) == [False, True]
    # A server counts no later than at the end of the connection.
    postgres_database.close()
    assert deadlocks(postgres, postgres_database) == before + 1
