"""Proof of delivery, storage commitment both ways, and what else makes the node trusted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cadnode.storage.dialect import joined, seconds_since, text_of

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)

_PROOF_COLUMNS = (
    "proof",
    "proof_due_at",
    "proof_tries",
    "proof_asks",
    "proof_failures",
    "proof_text",
    "proved_at",
)


def upgrade() -> None:
    """Add what is new; what is there keeps its meaning."""
    dialect = op.get_bind().dialect.name
    op.execute(sa.text("DROP VIEW exam_overview"))
    _add_proofs()
    _add_commitment()
    _add_pulls()
    _add_changed_input()
    _add_destination_states()
    op.execute(sa.text(_overview(dialect)))


def downgrade() -> None:
    """Take it away again; exams keep their place in the states of the first schema."""
    dialect = op.get_bind().dialect.name
    op.execute(sa.text("DROP VIEW exam_overview"))
    op.drop_table("destination_states")
    _remove_changed_input()
    op.drop_table("pulls")
    _remove_commitment()
    _remove_proofs()
    op.execute(sa.text(_first_overview(dialect)))


# SQLite adds and drops columns in place; its copy-and-move way would drop a table that others
# refer to.
def _add_proofs() -> None:
    for column in (
        sa.Column("proof", sa.Text),
        sa.Column("proof_due_at", _TIME),
        sa.Column("proof_tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("proof_asks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("proof_failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("proof_text", sa.Text),
        sa.Column("proved_at", _TIME),
    ):
        op.add_column("deliveries", column)
    op.create_index(
        "ix_deliveries_destination_proof_proof_due_at",
        "deliveries",
        ["destination", "proof", "proof_due_at"],
    )


def _remove_proofs() -> None:
    op.drop_index("ix_deliveries_destination_proof_proof_due_at", "deliveries")
    for name in _PROOF_COLUMNS:
        op.drop_column("deliveries", name)


def _add_commitment() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("transaction_uid", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("reported_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_commitments"),
        sa.UniqueConstraint("transaction_uid", name="uq_commitments_transaction_uid"),
    )
    op.create_table(
        "commitment_items",
        sa.Column("commitment_id", sa.Integer, nullable=False),
        sa.Column("delivery_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("commitment_id", "delivery_id", name="pk_commitment_items"),
        sa.ForeignKeyConstraint(
            ["commitment_id"], ["commitments.id"], name="fk_commitment_items_commitment_id"
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name="fk_commitment_items_delivery_id"
        ),
    )
    op.create_index("ix_commitment_items_delivery_id", "commitment_items", ["delivery_id"])
    op.create_table(
        "commitment_requests",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("transaction_uid", sa.Text, nullable=False),
        sa.Column("calling_ae", sa.Text, nullable=False),
        sa.Column("calling_host", sa.Text, nullable=False),
        sa.Column("items", sa.JSON, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", _TIME),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("answered_at", _TIME),
        sa.Column("committed", sa.Integer),
        sa.Column("failed", sa.Integer),
        sa.Column("error_text", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_commitment_requests"),
        sa.UniqueConstraint(
            "calling_ae",
            "transaction_uid",
            name="uq_commitment_requests_calling_ae_transaction_uid",
        ),
    )
    op.create_index(
        "ix_commitment_requests_status_due_at", "commitment_requests", ["status", "due_at"]
    )


def _remove_commitment() -> None:
    for table in ("commitment_requests", "commitment_items", "commitments"):
        op.drop_table(table)


def _add_pulls() -> None:
    op.create_table(
        "pulls",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", _TIME),
        sa.PrimaryKeyConstraint("name", name="pk_pulls"),
    )


def _add_changed_input() -> None:
    op.add_column(
        "jobs", sa.Column("renews", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column(
        "images", sa.Column("returned", sa.Boolean, nullable=False, server_default=sa.false())
    )
    # A purge asks for each file whether another row still names it.
    op.create_index("ix_images_path", "images", ["path"])
    op.create_table(
        "replaced_images",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("sop_instance_uid", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("calling_ae", sa.Text, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("replaced_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replaced_images"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_replaced_images_job_id"),
    )
    op.create_index("ix_replaced_images_job_id", "replaced_images", ["job_id"])
    op.create_index("ix_replaced_images_path", "replaced_images", ["path"])
    # Until now an exam that nobody got, because a newer revision came first, was called delivered.
    op.execute(
        sa.text(
            "UPDATE jobs SET status = 'superseded' WHERE status = 'delivered' AND EXISTS ("
            "SELECT 1 FROM deliveries d WHERE d.job_id = jobs.id AND d.status = 'superseded')"
            " AND NOT EXISTS ("
            "SELECT 1 FROM deliveries d WHERE d.job_id = jobs.id AND d.status = 'delivered')"
        )
    )


def _remove_changed_input() -> None:
    op.drop_table("replaced_images")
    op.drop_index("ix_images_path", "images")
    op.drop_column("images", "returned")
    op.drop_column("jobs", "renews")
    # The first schema has no such status; it is as finished as a cancelled one.
    op.execute(sa.text("UPDATE jobs SET status = 'cancelled' WHERE status = 'superseded'"))


def _add_destination_states() -> None:
    op.create_table(
        "destination_states",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("probes", sa.Integer, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("probe_at", _TIME),
        sa.Column("error_text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_destination_states"),
    )


# S608 is about strangers' text in SQL: there is none here, only the fragments of `dialect`.
def _overview(dialect: str) -> str:
    open_proofs = "d.status = 'delivered' AND d.proof IN ('wanted', 'asked', 'refused')"
    return _view(
        dialect,
        columns=f"""
            (SELECT count(*) FROM deliveries d WHERE d.job_id = j.id AND {open_proofs})
                AS proofs_pending,""",  # noqa: S608
        waits=f"""
                WHEN j.status = 'delivered' AND EXISTS (
                        SELECT 1 FROM deliveries d WHERE d.job_id = j.id AND {open_proofs})
                    THEN 'proof from ' || (
                    SELECT {joined(dialect, "o.destination")} FROM (
                        SELECT DISTINCT d.destination AS destination FROM deliveries d
                        WHERE d.job_id = j.id AND {open_proofs} ORDER BY 1
                    ) o)""",  # noqa: S608
    )


def _first_overview(dialect: str) -> str:
    return _view(dialect, columns="", waits="")


def _view(dialect: str, *, columns: str, waits: str) -> str:
    def images(condition: str = "") -> str:
        return f"(SELECT count(*) FROM images i WHERE i.job_id = j.id{condition})"  # noqa: S608

    def deliveries(status: str) -> str:
        where = f"d.job_id = j.id AND d.status = '{status}'"
        return f"(SELECT count(*) FROM deliveries d WHERE {where})"  # noqa: S608

    waiting = images(" AND i.state = 'received'")
    destinations = joined(dialect, "o.destination")
    return f"""
        CREATE VIEW exam_overview AS SELECT
            j.id, j.study_instance_uid, j.revision, j.status, j.created_at, j.last_image_at,
            {seconds_since(dialect, "j.created_at")} AS age_seconds,
            {images()} AS images,
            {waiting} AS images_waiting,
            {images(" AND i.state = 'analyzed'")} AS images_analyzed,
            {images(" AND i.state = 'set aside'")} AS images_set_aside,
            {images(" AND i.state = 'failed'")} AS images_failed,
            (SELECT count(*) FROM findings f JOIN images i ON i.id = f.image_id
                WHERE i.job_id = j.id) AS findings,
            {deliveries("pending")} AS deliveries_pending,
            {deliveries("failed")} AS deliveries_failed,{columns}
            j.error_code, j.error_text,
            CASE
                WHEN j.status IN ('receiving', 'analyzed') AND j.lease_owner IS NOT NULL
                    THEN 'being worked on by ' || j.lease_owner || ', lease until '
                        || {text_of(dialect, "j.lease_until")}
                WHEN j.status IN ('receiving', 'analyzed') AND j.error_text IS NOT NULL
                    THEN 'another try at ' || {text_of(dialect, "j.due_at")} || ' after '
                        || j.error_code || ': ' || j.error_text
                WHEN j.status = 'receiving' AND {waiting} > 0
                    THEN 'a worker to analyze its images'
                WHEN j.status = 'receiving'
                    THEN 'further images until ' || {text_of(dialect, "j.due_at")}
                WHEN j.status = 'analyzed' THEN 'a worker to write its result objects'
                WHEN j.status = 'reported' THEN 'delivery to ' || (
                    SELECT {destinations} FROM (
                        SELECT DISTINCT
                            d.destination || COALESCE(' (' || d.error_code || ')', '') AS destination
                        FROM deliveries d
                        WHERE d.job_id = j.id AND d.status = 'pending' ORDER BY 1
                    ) o){waits}
                WHEN j.status = 'failed'
                    THEN 'a person: retry or cancel'
                        || COALESCE(' (' || j.error_code || ': ' || j.error_text || ')', '')
                WHEN j.status = 'purged' THEN 'nothing'
                ELSE 'the end of its retention time'
            END AS waits_for
        FROM jobs j"""  # noqa: S608
