"""Passwords as argon2id hashes (RFC 9106)."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cadnode.core.accounts import password_of

AT_ONCE = 4
"""Each computation takes 64 MiB: a crowd of strangers shall not take the memory of the node."""


class Passwords:
    """Hashes passwords and compares them; safe to share between threads."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turn = threading.Semaphore(AT_ONCE)
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """The hash, with its parameters and its salt."""
        with self._turn:
            return self._hasher.hash(password_of(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """True when `kept` is the hash of `password`.

        Without a hash it takes as long, so that nobody learns from the time who has one.
        """
        # Whoever it is for: the first sign-in of all shall not tell either.
        if self._nobodys is None:
            self._nobodys = self.hash("nobody has this password")
        with self._turn:
            try:
                self._hasher.verify(kept or self._nobodys or "", password_of(password))
            except (VerificationError, InvalidHashError):
                return False
        return bool(kept)

    def outdated(self, kept: str) -> bool:
        """True for a hash with other parameters than new ones get."""
        return self._hasher.check_needs_rehash(kept)
