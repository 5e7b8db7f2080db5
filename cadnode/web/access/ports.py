"""What the console asks of the node about those who use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from cadnode.core.accounts import Account, AccountChange, ApiToken, Role, Session, User
from cadnode.web.access.guard import GuardRules


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a sign-in comes from."""

    address: str
    browser: str
    """What the browser calls itself."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody goes to the identity provider to sign in there."""

    url: str
    proof: str
    """What the browser keeps to itself until it comes back."""


class Access(Protocol):
    """Who may come in. Every call may raise DatabaseUnavailable."""

    @property
    def guard_rules(self) -> GuardRules:
        """From where requests may come."""
        ...

    @property
    def longest_session(self) -> timedelta:
        """For which a browser keeps its cookie."""
        ...

    @property
    def provider(self) -> str | None:
        """The host of the identity provider; None without one."""
        ...

    def open_to_localhost(self) -> bool:
        """True while nobody can sign in: there is no user, and no identity provider."""
        ...

    def sign_in(self, name: str, password: str, visitor: Visitor) -> str:
        """Sign in; the secret of the new session. Raises SignInRefused, TooManyAttempts."""
        ...

    def depart(self, redirect_uri: str) -> Departure:
        """The way to the identity provider, which sends the browser to `redirect_uri` after.

        Raises ProviderFailed, NotFound without a provider.
        """
        ...

    def arrive(
        self, answer: Mapping[str, str], *, proof: str, redirect_uri: str, visitor: Visitor
    ) -> str:
        """Sign in with the provider's answer; the secret of the new session.

        Raises SignInRefused, AccountRefused, ProviderFailed, NotFound.
        """
        ...

    def sign_out(self, secret: str, visitor: Visitor) -> None:
        """End a session."""
        ...

    def signed_in(self, secret: str, *, used: bool) -> User | None:
        """Whose session this is; with `used` it begins its idle time again."""
        ...

    def holder(self, token: str) -> User | None:
        """Whose token of the API this is."""
        ...

    def accounts(self) -> Sequence[Account]:
        """All users, by name."""
        ...

    def account(self, name: str) -> Account:
        """One user. Raises NotFound."""
        ...

    def changes(self) -> Sequence[AccountChange]:
        """What was last done to users and tokens, the newest first."""
        ...

    def add_user(self, name: str, role: Role, password: str, *, by: str) -> Account:
        """A new user. Raises AccountRefused."""
        ...

    def remove_user(self, name: str, *, by: str) -> None:
        """Without this user. Raises AccountRefused, NotFound."""
        ...

    def set_role(self, name: str, role: Role, *, by: str) -> None:
        """Another role. Raises AccountRefused, NotFound."""
        ...

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """A new password for somebody, who is signed out. Raises AccountRefused, NotFound."""
        ...

    def change_password(
        self, name: str, old: str, new: str, *, keep_session: str | None, visitor: Visitor
    ) -> None:
        """A new password of one's own, which ends the other sessions.

        Raises SignInRefused, TooManyAttempts, AccountRefused, NotFound.
        """
        ...

    def sessions(self, name: str, *, secret: str) -> Sequence[Session]:
        """Where somebody is signed in; `secret` says which of them asks."""
        ...

    def end_session(self, name: str, session_id: int) -> None:
        """Sign out elsewhere. Raises NotFound."""
        ...

    def tokens(self, owner: str | None = None) -> Sequence[ApiToken]:
        """The tokens of a user, or all."""
        ...

    def add_token(
        self, name: str, role: Role, days: int, *, owner: str | None, by: str
    ) -> tuple[ApiToken, str]:
        """A new token, and the secret that only its holder keeps. Raises AccountRefused."""
        ...

    def revoke_token(self, token_id: int, *, by: str, owner: str | None = None) -> None:
        """The token is good no more. Raises NotFound, also for one of another `owner`."""
        ...
