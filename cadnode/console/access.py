"""Who may use the console: the accounts in the database, and an identity provider if there is one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import ip_network

import structlog

from cadnode.app import App, utc_now
from cadnode.config.tables import WebTable
from cadnode.core.accounts import (
    Account,
    AccountChange,
    ApiToken,
    AttemptRules,
    Role,
    Session,
    SessionRules,
    User,
    name_of,
    password_problem,
)
from cadnode.core.audit import AuditTrail, UserLogin, UserLogout
from cadnode.core.errors import (
    AccessError,
    AccountRefused,
    ConfigError,
    NotFound,
    SignInRefused,
    TooManyAttempts,
)
from cadnode.oidc import Claims, IdentityProvider, OidcRules
from cadnode.storage.account_store import AccountStore
from cadnode.storage.passwords import Passwords
from cadnode.store import Store
from cadnode.web.access.guard import GuardRules
from cadnode.web.access.ports import Departure, Visitor

log = structlog.get_logger(__name__)

TOKEN_PREFIX = "cadnode_"  # noqa: S105  so that a token is recognised where it should not be

CHANGES_SHOWN = 50

UNKNOWN = "unknown user"
"""Stands in logs and audit messages for a name nobody has: it may be a mistyped password."""


def sha256_of(secret: str) -> str:
    """What the database keeps of a secret that is random enough."""
    return sha256(secret.encode()).hexdigest()


def new_token() -> str:
    """A secret for a program."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def guard_rules(web: WebTable) -> GuardRules:
    """From where requests may come, as the settings have it."""
    return GuardRules(
        hosts=frozenset(host.lower() for host in web.hosts),
        proxies=tuple(ip_network(proxy) for proxy in web.trusted_proxies),
        proxies_only=bool(web.trusted_proxies) and not (web.tls or web.allow_plain),
    )


def open_access(app: App, store: Store) -> ConsoleAccess:
    """Who may use the console of this node. Raises ConfigError for a secret that cannot be read."""
    web = app.settings.web
    return ConsoleAccess(
        AccountStore(store.database),
        web,
        audit=app.audit,
        clock=utc_now,
        provider=provider_of(web) if web.oidc_issuer else None,
    )


def provider_of(web: WebTable) -> IdentityProvider:
    """The identity provider of the settings, not asked yet. Raises ConfigError."""
    secret = web.oidc_client_secret.get_secret_value()
    if web.oidc_client_secret_file is not None:
        try:
            secret = web.oidc_client_secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"web.oidc_client_secret_file: {web.oidc_client_secret_file} cannot be read"
            ) from error
    return IdentityProvider(
        OidcRules(
            issuer=web.oidc_issuer,
            client_id=web.oidc_client_id,
            client_secret=secret,
            scopes=web.oidc_scopes,
            name_claim=web.oidc_name_claim,
            role_claim=web.oidc_role_claim,
            roles={value: Role[role.upper()] for value, role in web.oidc_roles.items()},
        )
    )


class ConsoleAccess:
    """`web.access.ports.Access` over the job database."""

    def __init__(
        self,
        store: AccountStore,
        web: WebTable,
        *,
        audit: AuditTrail,
        clock: Callable[[], datetime],
        passwords: Passwords | None = None,
        provider: IdentityProvider | None = None,
        attempts: AttemptRules | None = None,
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._provider = provider
        self._attempts = attempts or AttemptRules()
        self._sessions = SessionRules(
            idle=timedelta(minutes=web.idle_minutes), longest=timedelta(hours=web.session_hours)
        )
        self.guard_rules = guard_rules(web)

    @property
    def longest_session(self) -> timedelta:
        """See Access."""
        return self._sessions.longest

    @property
    def provider(self) -> str | None:
        """See Access."""
        return None if self._provider is None else self._provider.host

    def open_to_localhost(self) -> bool:
        """See Access."""
        return self._provider is None and not self._store.anybody()

    # ---- in and out --------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, visitor: Visitor) -> str:
        """See Access."""
        name = name_of(name)
        self._check_password(name, password, visitor)
        return self._open_session(name, visitor)

    def depart(self, redirect_uri: str) -> Departure:
        """See Access."""
        url, proof = self._known_provider().depart(redirect_uri)
        return Departure(url, proof)

    def arrive(
        self, answer: Mapping[str, str], *, proof: str, redirect_uri: str, visitor: Visitor
    ) -> str:
        """See Access."""
        provider = self._known_provider()
        claims: Claims | None = None
        try:
            claims = provider.arrive(
                answer, proof=proof, redirect_uri=redirect_uri, now=self._clock()
            )
            account = self._store.admit(
                issuer=claims.issuer,
                subject=claims.subject,
                name=name_of(claims.name),
                role=claims.role,
                now=self._clock(),
            )
        except AccessError as error:
            self._refused(UNKNOWN, visitor, error)
            raise
        return self._open_session(account.name, visitor)

    def sign_out(self, secret: str, visitor: Visitor) -> None:
        """See Access."""
        user = self.signed_in(secret, used=False)
        self._store.end_session(sha256_of(secret))
        if user is not None:
            self._audit.record(UserLogout(user.name, visitor.address))
            log.info("signed out", user=user.name, address=visitor.address)

    def signed_in(self, secret: str, *, used: bool) -> User | None:
        """See Access."""
        found = self._store.signed_in(
            sha256_of(secret), rules=self._sessions, now=self._clock(), used=used
        )
        return None if found is None else User(found[0].name, found[0].role)

    def holder(self, token: str) -> User | None:
        """See Access."""
        return self._store.holder(sha256_of(token), now=self._clock())

    # ---- users -------------------------------------------------------------------------------

    def accounts(self) -> Sequence[Account]:
        """See Access."""
        return self._store.accounts()

    def account(self, name: str) -> Account:
        """See Access."""
        return self._store.account(name)

    def changes(self) -> Sequence[AccountChange]:
        """See Access."""
        return self._store.changes(limit=CHANGES_SHOWN)

    def add_user(self, name: str, role: Role, password: str, *, by: str) -> Account:
        """See Access."""
        name = name_of(name)
        hashed = self._new_hash(name, password)
        return self._store.add(name, role, hashed, by=by, now=self._clock())

    def remove_user(self, name: str, *, by: str) -> None:
        """See Access."""
        self._store.remove(name, by=by, now=self._clock())

    def set_role(self, name: str, role: Role, *, by: str) -> None:
        """See Access."""
        self._store.set_role(name, role, by=by, now=self._clock())

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """See Access."""
        hashed = self._new_hash(name, password)
        self._store.set_password(name, hashed, by=by, now=self._clock())
        self._store.forget_failures(name)

    def change_password(
        self, name: str, old: str, new: str, *, keep_session: str | None, visitor: Visitor
    ) -> None:
        """See Access."""
        hashed = self._new_hash(name, new)
        self._check_password(name, old, visitor)
        self._store.set_password(
            name,
            hashed,
            by=name,
            now=self._clock(),
            keep_session=sha256_of(keep_session) if keep_session else None,
        )

    def sessions(self, name: str, *, secret: str) -> Sequence[Session]:
        """See Access."""
        now = self._clock()
        here = self._store.signed_in(sha256_of(secret), rules=self._sessions, now=now, used=False)
        current = None if here is None else here[1].id
        return [
            replace(session, current=session.id == current)
            for session in self._store.sessions(name, rules=self._sessions, now=now)
        ]

    def end_session(self, name: str, session_id: int) -> None:
        """See Access."""
        self._store.end_session_of(name, session_id)

    # ---- tokens ------------------------------------------------------------------------------

    def tokens(self, owner: str | None = None) -> Sequence[ApiToken]:
        """See Access."""
        return self._store.tokens(owner)

    def add_token(
        self, name: str, role: Role, days: int, *, owner: str | None, by: str
    ) -> tuple[ApiToken, str]:
        """See Access."""
        secret, now = new_token(), self._clock()
        token = self._store.add_token(
            name,
            role,
            sha256_of(secret),
            owner=owner,
            expires_at=now + timedelta(days=max(0, min(days, 36_500))),
            by=by,
            now=now,
        )
        return token, secret

    def revoke_token(self, token_id: int, *, by: str, owner: str | None = None) -> None:
        """See Access."""
        self._store.revoke_token(token_id, by=by, owner=owner, now=self._clock())

    # ---- shared ------------------------------------------------------------------------------

    def _check_password(self, name: str, password: str, visitor: Visitor) -> None:
        kept = self._store.password_hash(name)
        known = UNKNOWN if kept is None else name
        try:
            attempt = self._store.begin_attempt(
                name, visitor.address, rules=self._attempts, now=self._clock()
            )
            if not self._passwords.matches(kept, password):
                raise SignInRefused("there is no such user with this password")
        except (TooManyAttempts, SignInRefused) as error:
            self._refused(known, visitor, error)
            raise
        self._store.attempt_succeeded(attempt, name)
        if kept and self._passwords.outdated(kept):
            self._store.renew_hash(name, kept, self._passwords.hash(password))

    def _open_session(self, name: str, visitor: Visitor) -> str:
        secret = secrets.token_urlsafe(32)
        self._store.open_session(
            name,
            sha256_of(secret),
            address=visitor.address,
            browser=visitor.browser,
            rules=self._sessions,
            now=self._clock(),
        )
        self._audit.record(UserLogin(name, visitor.address))
        log.info("signed in", user=name, address=visitor.address)
        return secret

    def _refused(self, name: str, visitor: Visitor, error: AccessError) -> None:
        self._audit.record(UserLogin(name, visitor.address, refused=error.detail))
        log.warning(
            "a sign-in was refused",
            user=name,
            address=visitor.address,
            code=error.code,
            detail=error.detail,
        )

    def _new_hash(self, name: str, password: str) -> str:
        problem = password_problem(password, name)
        if problem:
            raise AccountRefused(problem)
        return self._passwords.hash(password)

    def _known_provider(self) -> IdentityProvider:
        if self._provider is None:
            raise NotFound("there is no identity provider in the settings")
        return self._provider
