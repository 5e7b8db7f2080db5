"""Persons and programs that use the console, and what their role lets them do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from ipaddress import IPv6Address, ip_address, ip_network

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
FEWEST_CHARACTERS = 5
"""Different ones in a password."""

LONGEST_TOKEN_DAYS = 3650

LOCALHOST = "localhost"
"""The name of whoever sits at the machine while there is no user."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


class Role(IntEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = 1
    """Look at everything but the accounts."""
    OPERATOR = 2
    """Decide about exams, and try peers."""
    ADMIN = 3
    """Make and remove accounts."""


class Origin(StrEnum):
    """Who vouches for a user."""

    LOCAL = "local"
    """This node, by a password."""
    OIDC = "oidc"
    """The identity provider that the settings name."""


class Means(StrEnum):
    """How a request says who is asking."""

    SESSION = "session"
    """A cookie, after somebody has signed in."""
    TOKEN = "token"  # noqa: S105  a word, not a secret
    """A token of the API."""
    LOCALHOST = "localhost"
    """From this machine, while there is no user."""


@dataclass(frozen=True, slots=True)
class User:
    """Who is asking."""

    name: str
    role: Role
    means: Means = Means.SESSION


@dataclass(frozen=True, slots=True)
class Account:
    """One user of this node."""

    name: str
    role: Role
    origin: Origin
    created_at: datetime
    created_by: str
    last_sign_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One browser in which somebody is signed in."""

    id: int
    user: str
    began_at: datetime
    last_used_at: datetime
    address: str
    browser: str
    """What the browser calls itself."""
    current: bool = False
    """True for the one that asks."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A program's key to the API; the token itself is known to its holder only."""

    id: int
    name: str
    """What it is for."""
    owner: str | None
    """The user whose it is; none for those made at the command line."""
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What was done to a user or a token, and by whom."""

    at: datetime
    text: str
    actor: str


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How long somebody stays signed in."""

    idle: timedelta = timedelta(minutes=60)
    """Without a request of theirs."""
    longest: timedelta = timedelta(hours=12)
    """Whatever they do."""

    def over(self, began_at: datetime, last_used_at: datetime, *, now: datetime) -> bool:
        """True when a session has ended; the last moment does not belong to it."""
        return now >= began_at + self.longest or now >= last_used_at + self.idle


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """How failed sign-ins slow down those that come after them."""

    free_by_name: int = 5
    """Failures under one name before the first wait."""
    free_by_address: int = 20
    """The same for one address, behind which there may be many."""
    first_wait: timedelta = timedelta(seconds=15)
    longest_wait: timedelta = timedelta(minutes=15)
    memory: timedelta = timedelta(hours=2)
    """Failures older than this are forgotten."""


def wait_after(
    failures: Sequence[datetime], *, free: int, rules: AttemptRules, now: datetime
) -> timedelta:
    """How long the next sign-in has to wait; each failure beyond the free ones doubles it."""
    # A clock that was set back shall lock nobody out for longer than the longest wait.
    recent = [min(at, now) for at in failures if at > now - rules.memory]
    beyond = len(recent) - free
    if beyond < 0 or not recent:
        return timedelta(0)
    wait = min(rules.first_wait * (1 << min(beyond, 32)), rules.longest_wait)
    return max(timedelta(0), max(recent) + wait - now)


def name_of(typed: str) -> str:
    """The name of an account as it is kept: without blanks at its ends, in small letters."""
    return unicodedata.normalize("NFKC", typed).strip().lower()


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a new account; None when nothing is."""
    if not _NAME.fullmatch(name):
        return (
            "a name is 1 to 64 small letters, digits and . _ @ -, and begins with a letter or digit"
        )
    if name == LOCALHOST:
        return f"the name {LOCALHOST} is taken"
    return None


def password_of(typed: str) -> str:
    """A password as it is hashed: the same whichever way a keyboard composes its characters."""
    return unicodedata.normalize("NFKC", typed)


def password_problem(password: str, name: str) -> str | None:
    """What is wrong with a new password; None when nothing is."""
    if len(password) < SHORTEST_PASSWORD:
        return f"a password has at least {SHORTEST_PASSWORD} characters"
    if len(password) > LONGEST_PASSWORD:
        return f"a password has at most {LONGEST_PASSWORD} characters"
    if len(password.casefold().replace(name.casefold(), "")) < SHORTEST_PASSWORD // 2:
        return "a password is more than the name"
    if len(set(password)) < FEWEST_CHARACTERS:
        return f"a password has at least {FEWEST_CHARACTERS} different characters"
    return None


def address_key(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network that one site has in IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ip_network((int(found), 64), strict=False))
    return str(found)
