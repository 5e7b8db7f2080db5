"""What the store of accounts does with sign-ins: how long they last, and failed ones."""

from __future__ import annotations

import contextlib
import threading

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from cadnode.core.accounts import Role
from cadnode.core.errors import NotFound, TooManyAttempts
from cadnode.storage import tables
from cadnode.storage.account_store import AccountStore
from cadnode.storage.passwords import Passwords
from tests.contract.accounts.kept import ATTEMPTS, MINUTE, SECOND, SESSIONS, T0, TICK, sign_in, who


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
