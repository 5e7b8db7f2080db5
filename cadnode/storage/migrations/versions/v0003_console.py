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
    _add_accounts()
    _add_exam_search()
    _add_patch_scores()
    _add_day()
    _add_scores()
    _add_notices()


def downgrade() -> None:
    """Take it away again, the identifiers of patients first of all."""
    _remove_notices()
    _remove_scores()
    _remove_day()
    op.drop_table("patch_scores")
    _remove_exam_search()
    _remove_accounts()


def _add_patch_scores() -> None:
    op.create_table(
        "patch_scores",
        sa.Column("image_id", sa.Integer, nullable=False),
        sa.Column("image_rows", sa.Integer, nullable=False),
        sa.Column("image_columns", sa.Integer, nullable=False),
        sa.Column("row_scale", sa.Float, nullable=False),
        sa.Column("column_scale", sa.Float, nullable=False),
        sa.Column("patch_size", sa.Integer, nullable=False),
        sa.Column("patch_count", sa.Integer, nullable=False),
        sa.Column("patches", sa.LargeBinary, nullable=False),
        sa.Column("heat_rows", sa.Integer, nullable=False),
        sa.Column("heat_columns", sa.Integer, nullable=False),
        sa.Column("heat_row_step", sa.Float, nullable=False),
        sa.Column("heat_column_step", sa.Float, nullable=False),
        sa.Column("heat", sa.LargeBinary, nullable=False),
        sa.Column("thresholds", sa.JSON, nullable=False),
        sa.Column("recommended", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_patch_scores"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_patch_scores_image_id"),
    )


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


# What the page of the day asks for, and which processes are there to be asked.
_DAY_INDEXES = {
    "ix_jobs_delivered_at_image_count_last_image_at": (
        "jobs",
        ["delivered_at", "image_count", "last_image_at"],
    ),
    "ix_deliveries_destination_delivered_at": ("deliveries", ["destination", "delivered_at"]),
}


def _add_day() -> None:
    op.add_column("jobs", sa.Column("delivered_at", _TIME))
    op.execute(
        sa.text(
            "UPDATE jobs SET delivered_at = ("
            "SELECT max(d.delivered_at) FROM deliveries d WHERE d.job_id = jobs.id)"
            " WHERE status IN ('delivered', 'committed', 'purged')"
        )
    )
    for name, (table, columns) in _DAY_INDEXES.items():
        op.create_index(name, table, columns)
    held = sa.text("lease_until IS NOT NULL")
    op.create_index(
        "ix_jobs_lease_until", "jobs", ["lease_until"], sqlite_where=held, postgresql_where=held
    )
    for column in (
        sa.Column("ended_at", _TIME),
        sa.Column("fetched", sa.Integer),
        sa.Column("failed", sa.Integer),
        sa.Column("error_text", sa.Text),
    ):
        op.add_column("pulls", column)
    op.create_table(
        "processes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("beat_at", _TIME, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )


def _remove_day() -> None:
    op.drop_table("processes")
    for name in ("error_text", "failed", "fetched", "ended_at"):
        op.drop_column("pulls", name)
    op.drop_index("ix_jobs_lease_until", "jobs")
    for name, (table, _) in _DAY_INDEXES.items():
        op.drop_index(name, table)
    op.drop_column("jobs", "delivered_at")


def _add_accounts() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("last_sign_in_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.UniqueConstraint("issuer", "subject", name="uq_users_issuer_subject"),
    )
    op.create_table(
        "web_sessions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("began_at", _TIME, nullable=False),
        sa.Column("last_used_at", _TIME, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("browser", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_web_sessions"),
        sa.UniqueConstraint("secret_sha256", name="uq_web_sessions_secret_sha256"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_web_sessions_user_id"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("last_used_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_tokens_secret_sha256"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_tokens_user_id"),
    )
    op.create_table(
        "sign_in_failures",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name_sha256", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_failures"),
    )
    for table, column in _ACCOUNT_INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _remove_accounts() -> None:
    for table in ("sign_in_failures", "api_tokens", "web_sessions", "users"):
        op.drop_table(table)


_ACCOUNT_INDEXES = (
    ("web_sessions", "user_id"),
    ("web_sessions", "began_at"),
    ("api_tokens", "user_id"),
    ("sign_in_failures", "name_sha256"),
    ("sign_in_failures", "address"),
    ("sign_in_failures", "at"),
)


# What the weeks of scores are counted from, and what a recomputed golden example came to.
def _add_scores() -> None:
    op.add_column("images", sa.Column("top_score", sa.Float))
    op.create_index(
        "ix_images_model_received_at_job_id_top_score",
        "images",
        ["model", "received_at", "job_id", "top_score"],
    )
    op.create_table(
        "golden_checks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("well", sa.Boolean, nullable=False),
        sa.Column("difference", sa.Float),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_golden_checks"),
    )


def _remove_scores() -> None:
    op.drop_table("golden_checks")
    op.drop_index("ix_images_model_received_at_job_id_top_score", "images")
    op.drop_column("images", "top_score")


def _add_notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("exams", sa.JSON, nullable=False),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("closed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_notices"),
    )
    still_open = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_notices_open_key",
        "notices",
        ["key"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_table(
        "notice_messages",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("notice_id", sa.Integer, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("first_due_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", _TIME),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("sent_at", _TIME),
        sa.Column("error_text", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_notice_messages"),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name="fk_notice_messages_notice_id"),
        sa.UniqueConstraint(
            "notice_id", "channel", "about", name="uq_notice_messages_notice_id_channel_about"
        ),
    )
    op.create_index(
        "ix_notice_messages_channel_status_due_at",
        "notice_messages",
        ["channel", "status", "due_at"],
    )
    op.create_table(
        "event_cursors",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("event_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_event_cursors"),
    )


def _remove_notices() -> None:
    for table in ("event_cursors", "notice_messages", "notices"):
        op.drop_table(table)
