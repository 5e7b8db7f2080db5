"""Runs the targets, each one in a process of its own, and reads what the fuzzer says of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

TARGETS = (
    "association",
    "messages",
    "identifiers",
    "data_set_hash",
    "reader",
    "codestreams",
    "decoders",
    "sr_reader",
    "results",
    "settings",
    "annotations",
    "mini_mias",
    "bundle",
    "find_answers",
    "commitment",
)

SECONDS_PER_INPUT = 10
"""An input that takes longer counts as a hang. None should take a hundredth of it."""

MEMORY_MB = 500
"""Of the whole process: the node's own limit for its receiver."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of fuzzing one target."""

    target: str
    inputs: int
    """Executed, mutated ones nearly all."""
    inputs_per_second: int
    branches: int
    """Covered in what is instrumented (see `child.INSTRUMENTED`)."""
    peak_mb: int
    notes: tuple[tuple[str, int], ...]
    """What a target thought worth a note, and how often."""
    broken: str
    """The end of the fuzzer's report when it found a bug, empty when it did not."""

    def __str__(self) -> str:
        line = (
            f"{self.target:<14} {self.inputs:>9} inputs {self.inputs_per_second:>6}/s"
            f" {self.branches:>5} branches {self.peak_mb:>4} MB"
        )
        noted = "".join(f"\n    {count} times: {note}" for note, count in self.notes)
        return f"{line}{noted}\n{self.broken}" if self.broken else line + noted


def fuzz(
    target: str, *, seconds: float, crashes: Path, corpus: Path | None = None, seed: int = 0
) -> Outcome:
    """Mutate the target's seeds for so many seconds (at least one).

    What breaks it is written to `crashes`. `corpus` keeps what reached new branches, for the next
    run to go on from; without it nothing is kept. A `seed` other than 0 makes the same choices
    again.
    """
    with tempfile.TemporaryDirectory(prefix="cadnode-fuzz-") as scratch:
        folder = corpus or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        crashes.mkdir(parents=True, exist_ok=True)
        ended = subprocess.run(
            [
                # Linux hands the peak of the memory on to whoever is started directly, and the
                # fuzzer would take that of the tests for its own.
                "sh",
                "-c",
                '"$@"; exit $?',
                "sh",
                sys.executable,
                "-m",
                "tests.fuzz.child",
                target,
                str(folder),
                f"-max_total_time={max(1, round(seconds))}",
                f"-timeout={SECONDS_PER_INPUT}",
                f"-rss_limit_mb={MEMORY_MB}",
                f"-artifact_prefix={crashes}/{target}-",
                f"-seed={seed}",
                "-print_final_stats=1",
            ],
            capture_output=True,
            check=False,
            # libFuzzer ends a process without cleaning up.
            env={**os.environ, "TMPDIR": scratch},
            cwd=Path(__file__).parents[2],
            text=True,
            errors="replace",
        )
    report = ended.stdout + ended.stderr
    return Outcome(
        target=target,
        inputs=_stat(report, "number_of_executed_units"),
        inputs_per_second=_stat(report, "average_exec_per_sec"),
        branches=max((int(n) for n in re.findall(r"\bcov: (\d+)", report)), default=0),
        peak_mb=_stat(report, "peak_rss_mb"),
        notes=tuple(Counter(re.findall(r"^note: (.*)", report, re.MULTILINE)).most_common()),
        broken=ended.stdout[-4000:] + ended.stderr[-2000:] if ended.returncode else "",
    )


def _stat(report: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", report)
    return int(found.group(1)) if found else 0
