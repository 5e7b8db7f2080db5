"""What the console asks for: identifiers to search exams by, and their priority."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)
# PostgreSQL finds values by their beginning only in an index in this order.
_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_SEARCH_INDEXES = {
    "ix_jobs_created_at_id": ["created_at", "id"],
    "ix_jobs_status_created_at_id": ["status", "created_at", "id"],
    "ix_jobs_calling_ae_status_created_at_id": ["calling_ae", "status", "created_at", "id"],
}


def upgrade() -> None:
    """Add what is new; what is there keeps its meaning."""
    _add_exam_search()


def downgrade() -> None:
    """Take it away again, the identifiers of patients first of all."""
    _remove_exam_search()


def _add_exam_search() -> None:
    for table in ("jobs", "deliveries"):
        op.add_column(table, sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    for name, columns in _SEARCH_INDEXES.items():
        op.create_index(name, "jobs", columns)
    op.create_table(
        "exam_identifiers",
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("exam_created_at", _TIME, nullable=False),
        sa.Column("patient_id", _BYTEWISE),
        sa.Column("accession_number", _BYTEWISE),
        sa.Column("study_date", sa.Date),
        sa.PrimaryKeyConstraint("job_id", name="pk_exam_identifiers"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_exam_identifiers_job_id"),
    )
    for column in ("patient_id", "accession_number", "study_date"):
        op.create_index(
            f"ix_exam_identifiers_{column}_exam_created_at_job_id",
            "exam_identifiers",
            [column, "exam_created_at", "job_id"],
        )


def _remove_exam_search() -> None:
    op.drop_table("exam_identifiers")
    for name in _SEARCH_INDEXES:
        op.drop_index(name, "jobs")
    for table in ("deliveries", "jobs"):
        op.drop_column(table, "priority")
