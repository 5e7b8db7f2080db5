"""`python -m cadnode.demo --out DIR`: the demo from the command line."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from cadnode.demo.run import DemoOptions, run_demo
from cadnode.demo.running import DemoFailed


def main(arguments: list[str] | None = None) -> int:
    """0 when the archive holds every result, 1 when not, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m cadnode.demo",
        description="Send two real exams to a node of their own, and show what comes back.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for the results")
    parser.add_argument("--seconds", type=float, default=900.0, help="how long the exams may take")
    parser.add_argument(
        "--small-archive", action="store_true", help="do not use Orthanc even where it is installed"
    )
    parser.add_argument(
        "--stay", action="store_true", help="keep node and archive running, with the console"
    )
    given = parser.parse_args(arguments)
    console = Console()
    # SIGTERM ends the demo as Ctrl-C does: every process that it started is stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        held = run_demo(
            DemoOptions(given.out, given.seconds, given.small_archive, given.stay), console
        )
    except DemoFailed as error:
        Console(stderr=True).print(f"The demo failed: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted; everything is stopped.")
        return 130
    return 0 if held else 1


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
