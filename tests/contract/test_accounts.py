"""What the store of accounts does, on a real database."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from cadnode.core.accounts import (
    AccountChange,
    AttemptRules,
    Means,
    Origin,
    Role,
    SessionRules,
    User,
)
from cadnode.core.errors import AccountRefused, NotFound, TooManyAttempts
from cadnode.storage import tables
from cadnode.storage.account_store import AccountStore
from cadnode.storage.database import Database, upgrade
from cadnode.storage.passwords import Passwords

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SESSIONS = SessionRules(idle=timedelta(minutes=30), longest=timedelta(hours=8))
ATTEMPTS = AttemptRules(free_by_name=3, free_by_address=6)
ISSUER = "https://id.site.example"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("accounts") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
def database(tmp_path: Path, empty: bytes) -> Iterator[Database]:
    path = tmp_path / "cadnode.db"
    path.write_bytes(empty)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> AccountStore:
    store = AccountStore(database)
    store.add("anna", Role.ADMIN, "hash 1", by="setup", now=T0)
    return store


def events(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        rows = connection.execute(
            select(tables.events.c.text, tables.events.c.actor).order_by(tables.events.c.id)
        )
        return [(row.text, row.actor) for row in rows]


def sign_in(store: AccountStore, name: str = "anna", key: str = "s1", now: datetime = T0):
    store.open_session(name, key, address="10.0.0.9", browser="Browser/1", rules=SESSIONS, now=now)


def who(store: AccountStore, key: str = "s1", now: datetime = T0, **how: bool) -> str | None:
    found = store.signed_in(key, rules=SESSIONS, now=now, **how)
    return found[0].name if found else None


class TestUsers:
    def test_a_new_node_has_nobody(self, database):
        store = AccountStore(database)
        assert not store.anybody()
        assert store.accounts() == []
        assert store.password_hash("anna") is None

    def test_the_first_user_has_to_be_an_admin(self, database):
        store = AccountStore(database)
        for role in (Role.VIEWER, Role.OPERATOR):
            with pytest.raises(AccountRefused, match="has to be an admin"):
                store.add("anna", role, "hash", by="setup", now=T0)
        assert not store.anybody()

    def test_whom_an_identity_provider_brings_does_not_stand_for_that_admin(self, database):
        store = AccountStore(database)
        store.admit(issuer=ISSUER, subject="1", name="olaf", role=Role.ADMIN, now=T0)
        with pytest.raises(AccountRefused, match="has to be an admin"):
            store.add("anna", Role.VIEWER, "hash", by="setup", now=T0)

    def test_what_is_kept_of_a_user(self, store):
        (account,) = store.accounts()
        assert account == store.account("anna")
        assert (account.name, account.role, account.origin) == ("anna", Role.ADMIN, Origin.LOCAL)
        assert (account.created_at, account.created_by) == (T0, "setup")
        assert account.last_sign_in_at is None
        assert store.password_hash("anna") == "hash 1"

    @pytest.mark.parametrize("name", ["anna", "Bert", "", "localhost", "a b"])
    def test_a_name_that_is_taken_or_no_name_is_refused(self, store, name):
        with pytest.raises(AccountRefused):
            store.add(name, Role.VIEWER, "hash", by="anna", now=T0)
        assert len(store.accounts()) == 1

    def test_a_new_role_is_in_force_at_the_next_request(self, store):
        store.add("bert", Role.VIEWER, "hash", by="anna", now=T0)
        sign_in(store, "bert")
        store.set_role("bert", Role.OPERATOR, by="anna", now=T0)
        found = store.signed_in("s1", rules=SESSIONS, now=T0)
        assert found is not None
        assert found[0].role is Role.OPERATOR

    def test_the_last_admin_stays_one_and_stays(self, store):
        store.add("bert", Role.OPERATOR, "hash", by="anna", now=T0)
        store.admit(issuer=ISSUER, subject="1", name="olaf", role=Role.ADMIN, now=T0)
        with pytest.raises(AccountRefused, match="last admin"):
            store.set_role("anna", Role.VIEWER, by="anna", now=T0)
        with pytest.raises(AccountRefused, match="last admin"):
            store.remove("anna", by="anna", now=T0)
        store.set_role("bert", Role.ADMIN, by="anna", now=T0)
        store.remove("anna", by="bert", now=T0)
        assert [account.name for account in store.accounts()] == ["bert", "olaf"]

    def test_a_new_password_ends_every_session_but_the_one_it_was_given_in(self, store):
        for secret in ("s1", "s2", "s3"):
            sign_in(store, key=secret)
        store.set_password("anna", "hash 2", by="anna", now=T0, keep_session="s2")
        assert [who(store, secret) for secret in ("s1", "s2", "s3")] == [None, "anna", None]
        assert store.password_hash("anna") == "hash 2"
        store.set_password("anna", "hash 3", by="root", now=T0)
        assert who(store, "s2") is None

    def test_a_hash_is_renewed_only_while_it_is_the_one_that_was_looked_at(self, store):
        store.renew_hash("anna", "hash 1", "hash 1b")
        store.renew_hash("anna", "hash 1", "hash 1c")
        assert store.password_hash("anna") == "hash 1b"

    def test_a_removed_user_is_out_at_once_and_the_tokens_with_them(self, store):
        store.add("bert", Role.OPERATOR, "hash", by="anna", now=T0)
        sign_in(store, "bert")
        store.add_token(
            "script", Role.VIEWER, "t1", owner="bert", expires_at=T0 + DAY, by="bert", now=T0
        )
        store.remove("bert", by="anna", now=T0)
        assert who(store) is None
        assert store.holder("t1", now=T0) is None
        with pytest.raises(NotFound):
            store.account("bert")

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.account("nobody"),
            lambda store: store.account("anna\0"),
            lambda store: store.set_role("nobody", Role.ADMIN, by="x", now=T0),
            lambda store: store.set_password("nobody", "hash", by="x", now=T0),
            lambda store: store.remove("nobody", by="x", now=T0),
            lambda store: sign_in(store, "nobody"),
            lambda store: store.end_session_of("nobody", 1),
        ],
    )
    def test_nobody_cannot_be_changed(self, store, change):
        with pytest.raises(NotFound, match="no such user"):
            change(store)

    def test_every_change_leaves_an_event_with_who_did_it(self, store, database):
        store.add("bert", Role.VIEWER, "hash", by="anna", now=T0)
        store.set_role("bert", Role.VIEWER, by="anna", now=T0)
        store.set_role("bert", Role.OPERATOR, by="anna", now=T0)
        store.set_password("bert", "hash", by="bert", now=T0)
        token = store.add_token(
            "x", Role.VIEWER, "t", owner="bert", expires_at=T0 + DAY, by="bert", now=T0
        )
        store.revoke_token(token.id, by="bert", now=T0)
        store.remove("bert", by="anna", now=T0)
        assert [change.text for change in store.changes(limit=2)] == [
            "User bert was removed.",
            "Token 1 was revoked.",
        ]
        assert store.changes(limit=9)[-1] == AccountChange(
            T0, "User anna was added as admin.", "setup"
        )
        assert events(database) == [
            ("User anna was added as admin.", "setup"),
            ("User bert was added as viewer.", "anna"),
            ("User bert became operator.", "anna"),
            ("User bert got a new password.", "bert"),
            ("Token 1 was made for bert as viewer.", "bert"),
            ("Token 1 was revoked.", "bert"),
            ("User bert was removed.", "anna"),
        ]


class TestUsersOfAnIdentityProvider:
    def admit(self, store, name="olaf", role=Role.VIEWER, subject="1", now=T0):
        return store.admit(issuer=ISSUER, subject=subject, name=name, role=role, now=now)

    def test_they_are_known_from_their_first_sign_in_and_have_no_password(self, store):
        account = self.admit(store)
        assert (account.name, account.origin) == ("olaf", Origin.OIDC)
        assert store.password_hash("olaf") is None

    def test_their_name_and_role_follow_the_provider(self, store):
        self.admit(store)
        self.admit(store, "olaf.b", Role.OPERATOR)
        assert [(a.name, a.role) for a in store.accounts()][1:] == [("olaf.b", Role.OPERATOR)]

    def test_they_cannot_take_the_name_of_somebody_else(self, store):
        self.admit(store)
        for name in ("anna", "olaf"):
            with pytest.raises(AccountRefused, match="another user's"):
                self.admit(store, name, Role.ADMIN, subject="2")
        with pytest.raises(AccountRefused, match="another user's"):
            self.admit(store, "anna")
        assert store.account("anna").role is Role.ADMIN

    def test_nor_a_name_that_is_none(self, store):
        with pytest.raises(AccountRefused, match="a name is"):
            self.admit(store, "Olaf Ö")

    def test_their_role_and_password_are_not_decided_here(self, store):
        self.admit(store)
        with pytest.raises(AccountRefused, match="identity provider"):
            store.set_role("olaf", Role.ADMIN, by="anna", now=T0)
        with pytest.raises(AccountRefused, match="identity provider"):
            store.set_password("olaf", "hash", by="anna", now=T0)


class TestSessions:
    def test_a_secret_says_who_is_signed_in_and_no_other_secret_does(self, store):
        sign_in(store)
        assert who(store) == "anna"
        assert who(store, "s2") is None
        assert store.account("anna").last_sign_in_at == T0

    def test_it_ends_when_it_is_not_used(self, store):
        sign_in(store)
        assert who(store, now=T0 + SESSIONS.idle - TICK, used=False) == "anna"
        assert who(store, now=T0 + SESSIONS.idle) is None

    def test_use_makes_it_last_until_the_longest_time(self, store):
        sign_in(store)
        now = T0
        while now < T0 + SESSIONS.longest - 20 * MINUTE:
            now += 20 * MINUTE
            assert who(store, now=now) == "anna"
        assert who(store, now=T0 + SESSIONS.longest - TICK) == "anna"
        assert who(store, now=T0 + SESSIONS.longest) is None

    def test_a_page_that_refreshes_itself_does_not_count_as_use(self, store):
        sign_in(store)
        for minutes in range(0, 30, 5):
            assert who(store, now=T0 + minutes * MINUTE, used=False) == "anna"
        assert who(store, now=T0 + SESSIONS.idle) is None

    def test_signing_out_ends_this_one_only(self, store):
        sign_in(store)
        sign_in(store, key="s2")
        store.end_session("s1")
        assert (who(store), who(store, "s2")) == (None, "anna")

    def test_a_user_sees_and_ends_their_own_sessions_only(self, store):
        store.add("bert", Role.VIEWER, "hash", by="anna", now=T0)
        sign_in(store)
        sign_in(store, key="s2", now=T0 + SECOND)
        sign_in(store, "bert", "s3")
        mine = store.sessions("anna", rules=SESSIONS, now=T0 + MINUTE)
        assert [session.began_at for session in mine] == [T0 + SECOND, T0]
        assert (mine[0].address, mine[0].browser) == ("10.0.0.9", "Browser/1")
        with pytest.raises(NotFound):
            store.end_session_of("bert", mine[0].id)
        store.end_session_of("anna", mine[0].id)
        assert [who(store, s) for s in ("s1", "s2", "s3")] == ["anna", None, "bert"]

    def test_those_that_are_over_are_not_listed_and_soon_gone(self, store, database):
        sign_in(store)
        later = T0 + SESSIONS.idle
        assert store.sessions("anna", rules=SESSIONS, now=later) == []
        sign_in(store, key="s2", now=later)
        with database.read() as connection:
            kept = connection.execute(select(tables.web_sessions.c.secret_sha256)).scalars().all()
        assert kept == ["s2"]

    def test_what_a_browser_calls_itself_is_cut(self, store):
        store.open_session(
            "anna", "s9", address="::1", browser="x" * 10_000, rules=SESSIONS, now=T0
        )
        (session,) = store.sessions("anna", rules=SESSIONS, now=T0)
        assert len(session.browser) == 200


class TestTokens:
    def add(self, store, key="t1", role=Role.OPERATOR, owner: str | None = "anna", days=30):
        return store.add_token(
            "grafana",
            role,
            key,
            owner=owner,
            expires_at=T0 + days * DAY,
            by="anna",
            now=T0,
        )

    def test_a_token_is_its_owner_with_the_role_of_the_token(self, store):
        self.add(store)
        assert store.holder("t1", now=T0) == User("anna", Role.OPERATOR, Means.TOKEN)
        assert store.holder("t2", now=T0) is None

    def test_it_is_good_until_it_expires(self, store):
        self.add(store)
        assert store.holder("t1", now=T0 + 30 * DAY - TICK) is not None
        assert store.holder("t1", now=T0 + 30 * DAY) is None

    def test_it_can_never_do_more_than_its_owner_may_now(self, store):
        store.add("bert", Role.OPERATOR, "hash", by="anna", now=T0)
        with pytest.raises(AccountRefused, match="cannot be more"):
            self.add(store, role=Role.ADMIN, owner="bert")
        self.add(store, owner="bert")
        store.set_role("bert", Role.VIEWER, by="anna", now=T0)
        assert store.holder("t1", now=T0) == User("bert", Role.VIEWER, Means.TOKEN)
        store.set_role("bert", Role.ADMIN, by="anna", now=T0)
        assert store.holder("t1", now=T0) == User("bert", Role.OPERATOR, Means.TOKEN)

    def test_one_of_the_command_line_belongs_to_nobody_and_says_so(self, store):
        self.add(store, owner=None)
        assert store.holder("t1", now=T0) == User("token:grafana", Role.OPERATOR, Means.TOKEN)

    def test_a_token_of_somebody_there_is_not(self, store):
        with pytest.raises(NotFound):
            self.add(store, owner="nobody")

    @pytest.mark.parametrize("days", [-1, 0, 3651])
    def test_a_token_is_good_for_a_reasonable_time(self, store, days):
        with pytest.raises(AccountRefused, match="days"):
            self.add(store, days=days)

    @pytest.mark.parametrize("name", ["", " x", "x" * 65, "a\nb"])
    def test_a_token_has_a_name_that_can_be_read(self, store, name):
        with pytest.raises(AccountRefused, match="name of a token"):
            store.add_token(name, Role.VIEWER, "t", owner=None, expires_at=T0 + DAY, by="x", now=T0)

    def test_a_list_says_when_it_was_last_used_and_a_revoked_one_is_gone(self, store):
        first = self.add(store)
        second = self.add(store, "t2", owner=None)
        store.holder("t1", now=T0 + SECOND)
        store.holder("t1", now=T0 + 2 * SECOND)
        store.holder("t1", now=T0 + 2 * MINUTE)
        assert [token.id for token in store.tokens()] == [second.id, first.id]
        (mine,) = store.tokens("anna")
        assert (mine.owner, mine.last_used_at) == ("anna", T0 + 2 * MINUTE)
        store.revoke_token(first.id, by="anna", now=T0)
        assert store.holder("t1", now=T0) is None
        assert store.holder("t2", now=T0) is not None

    def test_nobody_revokes_what_is_not_theirs(self, store):
        store.add("bert", Role.VIEWER, "hash", by="anna", now=T0)
        token = self.add(store)
        with pytest.raises(NotFound):
            store.revoke_token(token.id, by="bert", owner="bert", now=T0)
        with pytest.raises(NotFound):
            store.revoke_token(99, by="anna", now=T0)
        assert store.holder("t1", now=T0) is not None

    def test_expired_ones_are_listed_for_a_while_and_then_gone(self, store):
        self.add(store)
        store.add_token(
            "new",
            Role.VIEWER,
            "t3",
            owner=None,
            expires_at=T0 + 200 * DAY,
            by="x",
            now=T0 + 119 * DAY,
        )
        assert len(store.tokens()) == 2
        store.add_token(
            "newer",
            Role.VIEWER,
            "t4",
            owner=None,
            expires_at=T0 + 200 * DAY,
            by="x",
            now=T0 + 120 * DAY,
        )
        assert [token.name for token in store.tokens()] == ["newer", "new"]


class TestAttempts:
    def attempt(self, store: AccountStore, name="anna", address="10.0.0.9", now=T0) -> int:
        return store.begin_attempt(name, address, rules=ATTEMPTS, now=now)

    def test_failures_under_one_name_make_it_wait_from_wherever_they_come(self, store):
        for number in range(3):
            self.attempt(store, address=f"10.0.0.{number}")
        with pytest.raises(TooManyAttempts) as error:
            self.attempt(store, address="10.0.0.77")
        assert error.value.wait_seconds == 15
        self.attempt(store, "bert", address="10.0.0.77")

    def test_failures_from_one_address_make_it_wait_whoever_they_name(self, store):
        for number in range(6):
            self.attempt(store, f"user{number}")
        with pytest.raises(TooManyAttempts):
            self.attempt(store, "user9")
        self.attempt(store, "user9", address="10.0.0.10")

    def test_the_wait_ends_and_is_longer_the_next_time(self, store):
        for _ in range(3):
            self.attempt(store)
        with pytest.raises(TooManyAttempts) as error:
            self.attempt(store, now=T0 + 15 * SECOND - TICK)
        assert error.value.wait_seconds == 1
        self.attempt(store, now=T0 + 15 * SECOND)
        with pytest.raises(TooManyAttempts) as error:
            self.attempt(store, now=T0 + 15 * SECOND)
        assert error.value.wait_seconds == 30

    def test_being_turned_away_does_not_count(self, store):
        for _ in range(3):
            self.attempt(store)
        for _ in range(50):
            with pytest.raises(TooManyAttempts):
                self.attempt(store)
        self.attempt(store, now=T0 + 15 * SECOND)

    def test_success_forgets_the_failures_of_this_name_alone(self, store):
        for _ in range(2):
            self.attempt(store)
        for number in range(3):
            self.attempt(store, f"user{number}")
        store.attempt_succeeded(self.attempt(store), "anna")
        # Three failures of others still stand against the address.
        for _ in range(3):
            self.attempt(store)
        with pytest.raises(TooManyAttempts):
            self.attempt(store, "user9")

    def test_a_hundred_at_once_count_as_a_hundred(self, store):
        let_in: list[int] = []

        def guess() -> None:
            with contextlib.suppress(TooManyAttempts):
                let_in.append(self.attempt(store))

        threads = [threading.Thread(target=guess) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(let_in) == ATTEMPTS.free_by_name

    def test_a_person_can_have_them_forgotten(self, store):
        for _ in range(3):
            self.attempt(store)
        store.forget_failures("anna")
        self.attempt(store)

    def test_what_was_typed_as_a_name_is_not_kept(self, store, database):
        self.attempt(store, "my password by mistake")
        with database.read() as connection:
            (row,) = connection.execute(select(tables.sign_in_failures))
        assert "mistake" not in str(row)

    def test_old_ones_are_deleted(self, store, database):
        self.attempt(store)
        self.attempt(store, "bert", now=T0 + ATTEMPTS.memory)
        with database.read() as connection:
            assert len(connection.execute(select(tables.sign_in_failures)).all()) == 1


class TestPasswords:
    QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

    def test_a_password_matches_its_hash_and_no_other(self):
        passwords = Passwords(self.QUICK)
        kept = passwords.hash("correct horse")
        assert kept.startswith("$argon2id$")
        assert passwords.matches(kept, "correct horse")
        assert not passwords.matches(kept, "correct hors")
        assert kept != passwords.hash("correct horse")

    def test_nobody_has_a_password_not_even_the_one_of_the_dummy(self):
        passwords = Passwords(self.QUICK)
        assert not passwords.matches(None, "nobody has this password")
        assert not passwords.matches("", "nobody has this password")
        assert not passwords.matches("rubbish", "rubbish")

    def test_as_much_is_computed_for_nobody_as_for_somebody(self, monkeypatch):
        work: list[str] = []
        for name in ("hash", "verify"):
            real = getattr(PasswordHasher, name)

            def noted(*arguments, real=real, name=name):
                work.append(name)
                return real(*arguments)

            monkeypatch.setattr(PasswordHasher, name, noted)
        kept = Passwords(self.QUICK).hash("correct horse")
        work.clear()
        for known in (kept, None):
            passwords = Passwords(self.QUICK)
            assert not passwords.matches(known, "x")
            assert not passwords.matches(known, "x")
        assert work == ["hash", "verify", "verify"] * 2

    def test_the_same_characters_from_another_keyboard(self):
        passwords = Passwords(self.QUICK)
        assert passwords.matches(passwords.hash("schlu\u0308ssel"), "schlüssel")

    def test_a_hash_with_older_parameters_is_told_from_one_of_today(self):
        old, new = Passwords(self.QUICK), Passwords()
        assert new.outdated(old.hash("x"))
        assert not old.outdated(old.hash("x"))

    def test_the_parameters_in_force_are_those_of_rfc_9106(self):
        # Section 4, the second recommended option: 64 MiB, 3 passes, 4 lanes.
        assert "$m=65536,t=3,p=4$" in Passwords().hash("x")
