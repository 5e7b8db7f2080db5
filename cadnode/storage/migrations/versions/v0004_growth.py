"""Indexes for what the lanes claim and the retention purges, however much there is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PENDING = "ix_deliveries_pending"
_TO_PURGE = "ix_jobs_to_purge"


def upgrade() -> None:
    """Add the indexes."""
    pending = sa.text("status = 'pending'")
    op.create_index(
        _PENDING,
        "deliveries",
        ["destination", "priority", "due_at", "id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    kept = sa.text("status <> 'purged'")
    op.create_index(
        _TO_PURGE, "jobs", ["finished_at", "id"], sqlite_where=kept, postgresql_where=kept
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_index(_TO_PURGE, "jobs")
    op.drop_index(_PENDING, "deliveries")
