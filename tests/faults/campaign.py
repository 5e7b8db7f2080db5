"""Many rounds after each other, written down one by one so that a stop loses nothing."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.inject import unavailable
from tests.faults.ledger import Ledger
from tests.faults.plan import Kind, Scale, make_round
from tests.faults.rounds import Outcome, RoundRunner
from tests.faults.site import REPOSITORY, Site

RECORD = "rounds.jsonl"


@dataclass(frozen=True)
class Wish:
    """What to run."""

    seed: int
    faults: int
    """Rounds are run until so many faults have happened."""
    out: Path
    scale: Scale
    only_round: int | None = None
    settle_seconds: float = 180.0
    fsck: bool = True


class Campaign:
    """Runs rounds; one site serves many of them, until a round ends badly."""

    def __init__(
        self,
        wish: Wish,
        *,
        say: Callable[[str], None] = lambda _text: None,
        ended: Callable[[dict[str, Any]], None] = lambda _record: None,
    ) -> None:
        """`say` is told what happens, `ended` gets the record of each round."""
        self._wish = wish
        self._say = say
        self._ended = ended
        self._missing = unavailable()
        self._available = [kind for kind in Kind if kind not in self._missing]

    @property
    def missing(self) -> dict[Kind, str]:
        """The kinds that this machine cannot do, each with the reason."""
        return self._missing

    def run(self, before: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        """Every record of the campaign, those of an earlier start in `before` included."""
        records = list(before)
        self._wish.out.mkdir(parents=True, exist_ok=True)
        while not self._is_done(records):
            with tempfile.TemporaryDirectory(prefix="cadnode-faults-") as folder:
                self._on_one_site(Path(folder), records)
        return records

    def _on_one_site(self, folder: Path, records: list[dict[str, Any]]) -> None:
        """Rounds until there are enough, or one has ended badly: the next one starts clean."""
        ledger = Ledger()
        self._say("the node starts")
        with Site(folder, lambda _fault: None, with_volumes=self._has_volumes()) as site:
            while not self._is_done(records):
                number = self._wish.only_round or _next_round(records)
                outcome = self._one_round(site, ledger, number)
                record = {"commit": commit(), **outcome.as_json()}
                records.append(record)
                with (self._wish.out / RECORD).open("a") as stream:
                    stream.write(json.dumps(record) + "\n")
                self._ended(record)
                if not outcome.verdict.good or outcome.troubles:
                    self._keep_evidence(site, number)
                    return

    def _one_round(self, site: Site, ledger: Ledger, number: int) -> Outcome:
        wish = self._wish
        plan = make_round(wish.seed, number, self._available, wish.scale)
        return RoundRunner(
            site,
            ledger,
            plan,
            settle_seconds=wish.settle_seconds,
            fsck=wish.fsck,
            progress=lambda text: self._say(f"round {number}: {text}"),
        ).run()

    def _is_done(self, records: Sequence[dict[str, Any]]) -> bool:
        if self._wish.only_round is not None:
            return bool(records)
        return happened(records) >= self._wish.faults

    def _has_volumes(self) -> bool:
        return Kind.POWER_CUT in self._available

    def _keep_evidence(self, site: Site, number: int) -> None:
        kept = self._wish.out / f"evidence-{self._wish.seed}-{number}-{int(time.time())}"
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.log, kept)
        for path in site.database.parent.glob("cadnode.db*"):
            shutil.copy(path, kept)
        self._say(f"round {number} ended badly; log and database: {kept}")


def read_records(out: Path, seed: int) -> list[dict[str, Any]]:
    """What an earlier start with this seed has written down; a line cut short is left out."""
    file, records = out / RECORD, []
    if not file.exists():
        return []
    for line in file.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["seed"] == seed:
            records.append(record)
    return records


def happened(records: Sequence[dict[str, Any]]) -> int:
    """How many faults came about."""
    return sum(fault["happened"] for record in records for fault in record["faults"])


def commit() -> str:
    """The state of the code, as git names it; `unknown` outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=7"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def machine() -> str:
    """The processor and the kernel, for the record."""
    processors = Path("/proc/cpuinfo").read_text().count("processor\t")
    return f"{processors} cores, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"


def _next_round(records: Sequence[dict[str, Any]]) -> int:
    return max((record["round"] for record in records), default=0) + 1
