"""`python -m tests.faults`: faults on a real node, and a table of what came of them.

python -m tests.faults                         1000 faults, about an hour
python -m tests.faults -n 100 --seed 3         fewer, another schedule
python -m tests.faults --seed 3 --round 17     one round again
python -m tests.faults --resume                go on where a run was stopped

Exit status: 0 nothing was lost, duplicated or stuck; 1 something was.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import table
from tests.faults.campaign import RECORD, Campaign, Wish, happened, machine, read_records
from tests.faults.plan import SELECTION, Scale


def main() -> int:
    """Run the campaign the arguments ask for."""
    arguments = _arguments()
    faulthandler.enable()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell has it ignored: disks are unmounted and processes ended on the way out.
        signal.signal(number, _interrupted)
    wish = Wish(
        seed=arguments.seed,
        faults=arguments.n,
        out=arguments.out,
        scale=SELECTION if arguments.selection else Scale(lock_seconds=arguments.lock_seconds),
        only_round=arguments.round,
        settle_seconds=arguments.settle_seconds,
    )
    console = Console()
    before = read_records(wish.out, wish.seed) if arguments.resume else []
    if not arguments.resume and wish.only_round is None:
        (wish.out / RECORD).unlink(missing_ok=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("faults", total=wish.faults, completed=happened(before))

        def ended(record: dict[str, Any]) -> None:
            progress.advance(task, happened([record]))
            _tell(console, record)

        campaign = Campaign(
            wish, say=lambda text: progress.update(task, description=text[:60]), ended=ended
        )
        for kind, reason in campaign.missing.items():
            console.print(f"not on this machine: {kind} ({reason})")
        records = campaign.run(before)
    found = table.summary(records, campaign.missing, machine())
    (wish.out / "faults.json").write_text(json.dumps(found, indent=1) + "\n")
    console.print(table.markdown(found), markup=False)
    if arguments.docs is not None:
        table.write_into(arguments.docs, table.markdown(found))
    return 1 if found["bad_rounds"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-n", type=int, default=1000, help="faults to inject")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, help="run this one round only")
    parser.add_argument("--selection", action="store_true", help="rounds as in `make test`")
    parser.add_argument("--resume", action="store_true", help="go on with what --out holds")
    parser.add_argument("--out", type=Path, default=Path("faults-out"))
    parser.add_argument("--docs", type=Path, help="a document with the markers for the table")
    parser.add_argument("--lock-seconds", type=float, default=30.0)
    parser.add_argument("--settle-seconds", type=float, default=180.0)
    return parser.parse_args()


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _tell(console: Console, record: dict[str, Any]) -> None:
    verdict = "BAD" if table.is_bad(record) else "good"
    exams = ", ".join(f"{count} {status}" for status, count in record["exams"].items())
    console.print(
        f"round {record['round']}: {verdict}, {happened([record])} of {len(record['faults'])}"
        f" faults, {exams}, {record['seconds']:.0f} s, settled {record['settled_after']:.0f} s"
        " after the last",
        markup=False,
    )
    for sort, sentences in record["verdict"].items():
        for sentence in sentences:
            console.print(f"  {sort}: {sentence}", markup=False)
    for sentence in (*record["troubles"], *record["unplanned"][:5]):
        console.print(f"  note: {sentence}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
