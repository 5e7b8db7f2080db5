"""The tables of those who use the console."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, Table, Text, UniqueConstraint

from cadnode.storage.tables.base import UtcDateTime, metadata

# Who may use the console; see core/accounts.py.
users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("origin", Text, nullable=False),
    # argon2; of local users only.
    Column("password_hash", Text),
    # Who it is at the identity provider, of the others.
    Column("issuer", Text),
    Column("subject", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("last_sign_in_at", UtcDateTime),
    UniqueConstraint("issuer", "subject"),
)

# Of the secrets of sessions and tokens the database knows the SHA-256 alone.
web_sessions = Table(
    "web_sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False, index=True),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("began_at", UtcDateTime, nullable=False, index=True),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("address", Text, nullable=False),
    Column("browser", Text, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    # Empty for a token that was made at the command line.
    Column("user_id", Integer, ForeignKey("users.id"), index=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
)

# Sign-ins that failed, or that are being looked at. A name is kept as its SHA-256: a password that
# was typed into the wrong field shall not stand here.
sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name_sha256", Text, nullable=False, index=True),
    Column("address", Text, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False, index=True),
)
