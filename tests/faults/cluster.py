"""`python -m tests.faults.cluster`: a run of exams over a cluster while its parts are killed.

python -m tests.faults.cluster -n 200 --seed 1                               about ten minutes
python -m tests.faults.cluster -n 200 --seed 1 --docs docs/reliability.md    the table written anew

Exit status: 0 nothing was lost, duplicated or stuck; 1 something was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from cadnode.metrics.exposition import totals
from tests.brokers import rabbitmq
from tests.faults import observe
from tests.faults.campaign import commit, machine
from tests.faults.cluster_site import ClusterSite
from tests.faults.ledger import Ledger
from tests.faults.modality import make_images, send_until_acknowledged, study_uid
from tests.faults.oracle import Verdict, is_settled, judge
from tests.faults.plan import ExamPlan
from tests.postgres import postgresql

BEGIN, END = "<!-- cluster: begin -->", "<!-- cluster: end -->"
SEND_SECONDS = 180.0
SENDERS = 4


class Kind(StrEnum):
    """What is done to the cluster, as the table names it."""

    BROKER = "SIGKILL of the broker, away for 2 to 8 s"
    ANALYSIS = "SIGKILL of a worker that analyzes"
    SIGTERM = "SIGTERM of a worker that analyzes"
    DELIVERY = "SIGKILL of the worker that delivers"
    RECEIVE = "SIGKILL of the receiver"
    HOUSEKEEPING = "SIGKILL of housekeeping (the sweep)"
    CONNECTIONS = "every database connection cut"
    DATABASE = "database server away for 1 to 3 s"


_SHARES = {
    Kind.BROKER: 5,
    Kind.ANALYSIS: 4,
    Kind.SIGTERM: 1,
    Kind.DELIVERY: 3,
    Kind.RECEIVE: 2,
    Kind.HOUSEKEEPING: 1,
    Kind.CONNECTIONS: 6,
    Kind.DATABASE: 2,
}


@dataclass(frozen=True)
class Fault:
    """One of them, `at` so many seconds after the run began."""

    kind: Kind
    at: float
    seconds: float
    """How long it lasts, where it lasts."""
    worker: int
    """Which one, counted from 1, where there are several."""


@dataclass(frozen=True)
class Run:
    """What is to happen; everything else is chance in the machine."""

    seed: int
    exams: tuple[ExamPlan, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    injected: tuple[tuple[Kind, str], ...]
    verdict: Verdict
    images: int
    """Acknowledged."""
    exams: dict[str, int]
    seconds: float
    settled_after: float
    """Seconds after the last exam was sent."""
    hints: dict[str, int]
    troubles: tuple[str, ...]
    unplanned: tuple[str, ...]
    """Lines of the log that tell of an error nobody planned for."""

    @property
    def good(self) -> bool:
        """Nothing was found, and nothing of the harness broke."""
        return self.verdict.good and not self.troubles


def choose(seed: int, faults: int) -> Sequence[Kind]:
    """So many faults, each kind as often as its share says and at least once if there are enough."""
    random = Random(f"cluster/{seed}/{faults}")  # noqa: S311  a schedule, not a secret
    turns = [kind for kind, share in _SHARES.items() for _ in range(share)]
    random.shuffle(turns)
    kinds = list(_SHARES)[:faults]
    kinds += [turns[number % len(turns)] for number in range(faults - len(kinds))]
    random.shuffle(kinds)
    return kinds


def make_run(seed: int, exams: int, kinds: Sequence[Kind], *, pace: float, workers: int) -> Run:
    """The same arguments give the same run: an exam every `pace` seconds, and the faults in their
    order spread over that time."""
    random = Random(f"cluster/{seed}/{exams}/{len(kinds)}")  # noqa: S311
    span = exams * pace
    return Run(
        seed,
        tuple(_exam(random, number, number * pace) for number in range(exams)),
        tuple(
            Fault(
                kind,
                at=round((number + random.random()) * span / len(kinds), 2),
                seconds=round(
                    random.uniform(2, 8) if kind is Kind.BROKER else random.uniform(1, 3), 1
                ),
                worker=random.randint(1, workers),
            )
            for number, kind in enumerate(kinds)
        ),
    )


def _exam(random: Random, number: int, at: float) -> ExamPlan:
    if random.random() < 0.15:
        return ExamPlan(number, at, ("RCC",), "LCC")
    return ExamPlan(number, at, ("RCC", "LCC"))


class ClusterRunner:
    """Runs one plan on a running cluster."""

    def __init__(
        self,
        site: ClusterSite,
        run: Run,
        *,
        settle_seconds: float,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._site = site
        self._run = run
        self._settle_seconds = settle_seconds
        self._progress = progress
        self._ledger = Ledger()
        self._injected: list[tuple[Kind, str]] = []
        self._troubles: list[str] = []
        self._begun = time.monotonic()

    def run(self) -> Outcome:
        """The whole run."""
        self._begun = time.monotonic()
        shares = [self._run.exams[number::SENDERS] for number in range(SENDERS)]
        threads = [
            threading.Thread(target=self._survive, args=(call,), daemon=True)
            for call in (
                *(lambda exams=share: self._send(exams) for share in shares),
                self._inject_all,
            )
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sent = time.monotonic()
        self._progress("settling")
        settled = self._settle()
        self._progress("asking the oracle")
        # Nobody supervises these processes but the harness: none is an orphan.
        verdict = judge(replace(observe.look(self._site, self._ledger), orphans=()))
        exams: dict[str, int] = {}
        for exam in observe.exam_rows(self._site):
            key = f"{exam.status} {exam.error_code}" if exam.status == "failed" else exam.status
            exams[key] = exams.get(key, 0) + 1
        return Outcome(
            tuple(self._injected),
            verdict,
            images=len(list(self._ledger.images())),
            exams=exams,
            seconds=time.monotonic() - self._begun,
            settled_after=settled - sent,
            hints=hints_of(self._site.data / "metrics"),
            troubles=tuple(self._troubles),
            unplanned=tuple(observe.unplanned(self._site.log.read_text().splitlines())),
        )

    def _survive(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  a broken injector is a finding, not an end
            self._troubles.append(f"{type(error).__name__}: {error}")

    def _send(self, exams: Sequence[ExamPlan]) -> None:
        for exam in exams:
            images = make_images(study_uid(self._run.seed, 0, exam.number), exam)
            time.sleep(max(0.0, self._begun + exam.at - time.monotonic()))
            ends = time.monotonic() + SEND_SECONDS
            for part in (images[: len(exam.views)], images):
                if not send_until_acknowledged(self._site.port, part, self._ledger, ends=ends):
                    self._troubles.append(f"exam {exam.number} was not taken")

    def _inject_all(self) -> None:
        for fault in self._run.faults:
            time.sleep(max(0.0, self._begun + fault.at - time.monotonic()))
            self._progress(fault.kind)
            self._injected.append((fault.kind, self._inject(fault)))

    def _inject(self, fault: Fault) -> str:
        site = self._site
        match fault.kind:
            case Kind.BROKER:
                site.broker.kill()
                time.sleep(fault.seconds)
                site.broker.start()
                return f"away for {fault.seconds} s"
            case Kind.ANALYSIS:
                site.kill(f"analysis {fault.worker}")
            case Kind.SIGTERM:
                site.kill(f"analysis {fault.worker}", signal.SIGTERM)
            case Kind.DELIVERY:
                site.kill("delivery")
            case Kind.RECEIVE:
                site.kill("receive")
            case Kind.HOUSEKEEPING:
                site.kill("housekeeping")
            case Kind.CONNECTIONS:
                return f"{site.cut_connections()} connections"
            case Kind.DATABASE:
                site.server.stop()
                time.sleep(fault.seconds)
                site.server.start()
        return ""

    def _settle(self) -> float:
        ends = time.monotonic() + self._settle_seconds
        while time.monotonic() < ends:
            images = observe.image_rows(self._site, with_files=False)
            known = {image.sop_instance_uid for image in images}
            here = all(image.sop_instance_uid in known for image in self._ledger.images())
            if (
                here
                and is_settled(observe.exam_rows(self._site), images)
                and not observe.pending(self._site)
            ):
                break
            time.sleep(0.5)
        return time.monotonic()


def hints_of(folder: Path) -> dict[str, int]:
    """Hints given, given again and lost, and messages taken, by all processes together."""
    counted = totals(folder)
    found = {
        labels[0]: int(value[0]) for labels, value in counted.get("cadnode_hints_total", {}).items()
    }
    taken = counted.get("cadnode_hints_taken_total", {})
    return found | {"taken": int(sum(value[0] for value in taken.values()))}


def run_cluster(
    run: Run,
    *,
    workers: int,
    settle_seconds: float,
    evidence: Path | None = None,
    progress: Callable[[str], None] = lambda _text: None,
) -> Outcome:
    """Start a cluster, run it, end it; the log of a bad run goes to `evidence`."""
    with ExitStack() as stack:
        progress("servers start")
        server = stack.enter_context(postgresql())
        broker = stack.enter_context(rabbitmq())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cadnode-cluster-")))
        progress("the cluster starts")
        site = ClusterSite(folder, lambda _: None, workers=workers, broker=broker, server=server)
        stack.enter_context(site)
        runner = ClusterRunner(site, run, settle_seconds=settle_seconds, progress=progress)
        outcome = runner.run()
        if not outcome.good and evidence is not None:
            evidence.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(site.log, evidence)
        return outcome


def markdown(run: Run, outcome: Outcome) -> str:
    """The table, with a sentence above and below it."""
    exams = ", ".join(f"{count} {status}" for status, count in sorted(outcome.exams.items()))
    hints = outcome.hints
    head = (
        f"{len(run.exams)} exams, {outcome.images} images acknowledged, {len(outcome.injected)}"
        f" faults in {outcome.seconds / 60:.1f} minutes; exams at the end: {exams}; everything"
        f" settled {outcome.settled_after:.0f} s after the last image. Seed {run.seed}; code"
        f" {commit()}, {machine()}.\n\n"
        "| fault | injected | lost | duplicated | stuck |\n| --- | ---: | ---: | ---: | ---: |\n"
    )
    verdict = outcome.verdict
    found = (len(verdict.lost), len(verdict.duplicated), len(verdict.stuck))
    counts = [(kind, sum(k is kind for k, _ in outcome.injected)) for kind in Kind]
    lines = [(str(kind), count) for kind, count in counts if count]
    lines.append(("**all**", len(outcome.injected)))
    rows = "".join(
        f"| {name} | {count} | {found[0]} | {found[1]} | {found[2]} |\n" for name, count in lines
    )
    tail = (
        f"\nHints: {hints.get('given', 0)} given, {hints.get('again', 0)} given again by the sweep,"
        f" {hints.get('lost', 0)} changes that nobody could be told of; {hints['taken']} messages"
        " were taken by workers. What processes that were killed had counted is in it.\n"
    )
    return head + rows + tail


def main() -> int:
    """Run what the arguments ask for."""
    arguments = _arguments()
    faults = arguments.n // 5 if arguments.faults is None else arguments.faults
    run = make_run(
        arguments.seed,
        arguments.n,
        choose(arguments.seed, faults),
        pace=arguments.pace,
        workers=arguments.workers,
    )
    begun = time.monotonic()

    def progress(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:6.0f} s  {text}\n")

    outcome = run_cluster(
        run,
        workers=arguments.workers,
        settle_seconds=arguments.settle_seconds,
        evidence=Path("faults-out/cluster.log"),
        progress=progress,
    )
    text = markdown(run, outcome)
    sys.stdout.write(text)
    notes = {"trouble": outcome.troubles, "note": outcome.unplanned[:20]}
    for sort, sentences in {**asdict(outcome.verdict), **notes}.items():
        for sentence in sentences:
            sys.stdout.write(f"{sort}: {sentence}\n")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(_plain(run, outcome), indent=1) + "\n")
    if arguments.docs is not None and outcome.good:
        before, _, rest = arguments.docs.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        arguments.docs.write_text(f"{before}{BEGIN}\n{text}{END}{after}")
    return 0 if outcome.good else 1


def _plain(run: Run, outcome: Outcome) -> dict[str, Any]:
    return {"seed": run.seed, "faults": [asdict(f) for f in run.faults], **asdict(outcome)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.cluster", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-n", type=int, default=200, help="exams")
    parser.add_argument("--faults", type=int, help="by default one for five exams")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=1.5, help="seconds from exam to exam")
    parser.add_argument("--workers", type=int, default=2, help="that analyze")
    parser.add_argument("--settle-seconds", type=float, default=1200.0)
    parser.add_argument("--out", type=Path, help="raw numbers as JSON")
    parser.add_argument("--docs", type=Path, help="a document with the markers for the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
