"""What the store of accounts does with tokens of programs."""

from __future__ import annotations

import pytest

from cadnode.core.accounts import Means, Role, User
from cadnode.core.errors import AccountRefused, NotFound
from tests.contract.accounts.kept import DAY, MINUTE, SECOND, T0, TICK


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
