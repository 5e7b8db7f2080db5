"""Everything about who may use the console, in one object."""

from __future__ import annotations

from cadnode.storage.accounts import Accounts
from cadnode.storage.api_tokens import Tokens
from cadnode.storage.sign_ins import SignIns


class AccountStore(Accounts, SignIns, Tokens):
    """Users, sessions, tokens and failed sign-ins on a SQL database.

    Safe to share between threads. Every call may raise DatabaseUnavailable; then nothing has
    changed.
    """
