"""`cadnode users ...` and `cadnode tokens ...`: who may use the console and its API."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadnode.app import utc_now
from cadnode.cli.output import ConfigOption, JsonOption, app_for, local, print_json, print_table
from cadnode.core.accounts import Origin, Role, name_of

if TYPE_CHECKING:
    from cadnode.console.access import ConsoleAccess

users = typer.Typer(help="Who may use the console.", no_args_is_help=True)
tokens = typer.Typer(help="Programs that may use the API.", no_args_is_help=True)


class RoleName(StrEnum):
    """A role as it is typed."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


UserName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The user's name.", callback=lambda name: name_of(name)),
]
FromStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Read the password from the first line of standard input."
    ),
]


def add_to(cli: typer.Typer) -> None:
    """Add `users` and `tokens` to the command."""
    cli.add_typer(users, name="users")
    cli.add_typer(tokens, name="tokens")


@users.command("add")
def add_user(
    name: UserName,
    role: Annotated[RoleName, typer.Option(help="What the user may do.")] = RoleName.VIEWER,
    password_stdin: FromStdin = False,
    config: ConfigOption = None,
) -> None:
    """Add a user who signs in with a password; it is asked for twice. The first has to be an admin."""
    with _access(config) as access:
        password = _password(password_stdin)
        added = access.add_user(name, _role(role), password, by=getpass.getuser())
    typer.echo(f"{added.name} can sign in as {added.role.name.lower()}.")


@users.command("list")
def list_users(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """All users, by name."""
    with _access(config) as access:
        accounts = access.accounts()
    if as_json:
        print_json([asdict(a) | {"role": a.role.name.lower()} for a in accounts])
        return
    if not accounts:
        typer.echo("There is no user yet: the console is open to whoever sits at this machine.")
        return
    print_table(
        ["NAME", "ROLE", "SIGNS IN", "LAST SIGNED IN", "ADDED", "BY"],
        (
            [
                account.name,
                account.role.name.lower(),
                "with a password" if account.origin is Origin.LOCAL else "at the provider",
                local(account.last_sign_in_at) or "never",
                local(account.created_at),
                account.created_by,
            ]
            for account in accounts
        ),
    )


@users.command("remove")
def remove_user(name: UserName, config: ConfigOption = None) -> None:
    """Remove a user, who is signed out at once and whose tokens end."""
    with _access(config) as access:
        access.remove_user(name, by=getpass.getuser())
    typer.echo(f"{name} is removed.")


@users.command("passwd")
def change_password(
    name: UserName, password_stdin: FromStdin = False, config: ConfigOption = None
) -> None:
    """Give a user a new password; it is asked for twice. The user is signed out everywhere."""
    with _access(config) as access:
        access.account(name)
        access.set_password(name, _password(password_stdin), by=getpass.getuser())
    typer.echo(f"{name} has a new password and is signed out.")


@users.command("role")
def change_role(
    name: UserName,
    role: Annotated[RoleName, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")],
    config: ConfigOption = None,
) -> None:
    """Give a user another role, in force from the next request on."""
    with _access(config) as access:
        access.set_role(name, _role(role), by=getpass.getuser())
    typer.echo(f"{name} is {role} now.")


@tokens.command("add")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    role: Annotated[RoleName, typer.Option(help="What its holder may do.")] = RoleName.VIEWER,
    days: Annotated[int, typer.Option(min=1, max=3650, help="For so long.")] = 365,
    config: ConfigOption = None,
) -> None:
    """Make a token; it is printed this once, alone on standard output."""
    with _access(config) as access:
        token, secret = access.add_token(name, _role(role), days, owner=None, by=getpass.getuser())
    typer.echo(
        f"Token {token.id} is good until {local(token.expires_at)}. It is not shown again.",
        err=True,
    )
    typer.echo(secret)


@tokens.command("list")
def list_tokens(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """All tokens, the newest first, without themselves."""
    with _access(config) as access:
        known = access.tokens()
    if as_json:
        print_json([asdict(token) | {"role": token.role.name.lower()} for token in known])
        return
    if not known:
        typer.echo("There is no token.")
        return
    print_table(
        ["ID", "FOR", "WHOSE", "ROLE", "GOOD UNTIL", "LAST USED", "BY"],
        (
            [
                token.id,
                token.name,
                token.owner or "",
                token.role.name.lower(),
                local(token.expires_at) + (" (over)" if token.expires_at <= utc_now() else ""),
                local(token.last_used_at) or "never",
                token.created_by,
            ]
            for token in known
        ),
    )


@tokens.command("revoke")
def revoke_token(
    token_id: Annotated[int, typer.Argument(metavar="ID", help="Its number in `tokens list`.")],
    config: ConfigOption = None,
) -> None:
    """End a token: its holder is turned away from the next request on."""
    with _access(config) as access:
        access.revoke_token(token_id, by=getpass.getuser())
    typer.echo(f"Token {token_id} is revoked.")


@contextmanager
def _access(config: Path | None) -> Iterator[ConsoleAccess]:
    # Not at the top: the other commands need no web framework.
    from cadnode.console.access import open_access

    app = app_for(config)
    store = app.open_store(create=True)
    try:
        yield open_access(app, store)
    finally:
        store.close()


def _role(name: RoleName) -> Role:
    return Role[name.name]


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Again"))
