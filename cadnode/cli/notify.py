"""`cadnode notify ...`: who is told when something goes wrong."""

from __future__ import annotations

import typer

from cadnode.app import utc_now
from cadnode.cli.output import ConfigOption, JsonOption, app_for, local, print_json, print_table
from cadnode.core.errors import NoticeNotSent

notify = typer.Typer(help="Messages to persons, by mail and webhook.", no_args_is_help=True)


def add_to(cli: typer.Typer) -> None:
    """Add `notify` to the command."""
    cli.add_typer(notify, name="notify")


@notify.command("test")
def send_test(config: ConfigOption = None) -> None:
    """Send a test message on every channel and say what happened; exit 1 if one failed."""
    from cadnode.notifying import channels_of, send_trial

    app = app_for(config)
    channels = channels_of(app.settings)
    if not channels:
        typer.echo("[notify] names neither mail_host nor webhook_url: nobody is told anything")
        raise typer.Exit(1)
    failed = False
    for channel in channels:
        try:
            said = send_trial(app.settings, channel, now=utc_now())
        except NoticeNotSent as error:
            failed = True
            typer.echo(f"FAIL  {channel.name}: {error}")
        else:
            typer.echo(f"ok    {channel.name}: {said}")
    if failed:
        raise typer.Exit(1)


@notify.command("list")
def list_notices(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """What is not as it should be at this moment, and what has not reached anybody yet."""
    from cadnode.storage.notices import NoticeStore

    store = app_for(config).open_store()
    try:
        notices = NoticeStore(store.database)
        found, waiting = notices.open_notices(), notices.unsent()
    finally:
        store.close()
    if as_json:
        print_json(
            {
                "open": [
                    {"kind": n.kind, "subject": n.subject, "since": n.since, "text": n.text}
                    for n in found
                ],
                "unsent": [
                    {"channel": m.channel, "messages": m.messages, "error": m.error}
                    for m in waiting
                ],
            }
        )
        return
    print_table(
        ("kind", "subject", "since", "text"),
        ((n.kind, n.subject, local(n.since), n.text) for n in found),
        title="" if found else "Nothing is wrong.",
    )
    for item in waiting:
        typer.echo(f"{item.messages} not sent yet by {item.channel}: {item.error or 'waiting'}")
