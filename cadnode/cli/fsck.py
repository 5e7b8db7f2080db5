"""`cadnode fsck`: do database, files and destinations agree?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cadnode.app import utc_now
from cadnode.cli.output import ConfigOption, JsonOption, app_for, print_json, problem
from cadnode.core.consistency import Discrepancy
from cadnode.core.errors import CadnodeError, ConfigError
from cadnode.storage.fsck import Fsck, Outcome
from cadnode.storage.repair import Repair

WRONG = 1
NOT_CHECKED = 3


def add_to(cli: typer.Typer) -> None:
    """Add the command of this module."""
    cli.command()(fsck)


def fsck(
    archive: Annotated[
        bool, typer.Option("--archive", help="Ask every enabled destination what it holds.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file and compare its hash, not its size.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what is safe to mend, and say what was done.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare database, files and destinations; safe while the node runs.

    Exit 0 when nothing is wrong (or all of it was mended), 1 when something is, 3 when something
    could not be checked.
    """
    app = app_for(config)
    mended: Mapping[Discrepancy, str] = {}
    try:
        store, spool = app.open_store(), app.spool(make=False)
        try:
            check = Fsck(
                store.database,
                spool,
                destinations={d.name: d.enabled for d in app.settings.destinations},
                now=utc_now(),
            )
            outcome = check.check(deep=deep, archives=app.holdings() if archive else {})
            if repair:
                mended = Repair(store.database, spool, now=utc_now()).all(outcome.discrepancies)
        finally:
            store.close()
    except ConfigError:
        raise
    except CadnodeError as error:
        problem(str(error))
        raise typer.Exit(NOT_CHECKED) from error
    if as_json:
        print_json(_as_json(outcome, mended))
    else:
        _print(outcome, mended)
    if any(item.kind.is_error for item in outcome.discrepancies if item not in mended):
        raise typer.Exit(WRONG)
    if outcome.unchecked:
        raise typer.Exit(NOT_CHECKED)


def _as_json(outcome: Outcome, mended: Mapping[Discrepancy, str]) -> dict[str, Any]:
    left = [item for item in outcome.discrepancies if item not in mended]
    return {
        "clean": not any(item.kind.is_error for item in left),
        "checked": outcome.counts,
        "problems": [
            {
                "code": item.kind.code,
                "severity": _severity(item),
                "text": item.kind.text,
                "subject": item.subject,
                "detail": item.detail,
                "exam_id": item.exam_id,
                "mended": mended.get(item),
            }
            for item in outcome.discrepancies
        ],
        "unchecked": outcome.unchecked,
    }


_SINGULAR = {
    "exams": "exam",
    "images": "image",
    "results": "result",
    "deliveries": "delivery",
    "files": "file",
    "destinations": "destination",
}


def _severity(item: Discrepancy) -> str:
    return "error" if item.kind.is_error else "note"


def _print(outcome: Outcome, mended: Mapping[Discrepancy, str]) -> None:
    for item in outcome.discrepancies:
        typer.echo(f"{_severity(item):5}  {item}")
        if item in mended:
            typer.echo(f"       mended: {mended[item]}")
    for line in outcome.unchecked:
        typer.echo(f"not checked: {line}")
    looked_at = ", ".join(
        f"{count} {_SINGULAR.get(name, name) if count == 1 else name}"
        for name, count in outcome.counts.items()
        if count
    )
    left = sum(1 for item in outcome.discrepancies if item.kind.is_error and item not in mended)
    typer.echo(f"Looked at {looked_at or 'nothing'}: {left or 'no'} error{'s' * (left != 1)}.")
