"""What the store of accounts does with users."""

from __future__ import annotations

import pytest

from cadnode.core.accounts import AccountChange, Origin, Role
from cadnode.core.errors import AccountRefused, NotFound
from cadnode.storage.account_store import AccountStore
from tests.contract.accounts.kept import DAY, ISSUER, SESSIONS, T0, events, sign_in, who


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
