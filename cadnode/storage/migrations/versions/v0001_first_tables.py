"""The first tables, the overview for administrators, and events that only grow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cadnode.storage.dialect import append_only, joined, seconds_since, text_of

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make everything."""
    _make_exam_tables()
    _make_result_tables()
    dialect = op.get_bind().dialect.name
    for statement in append_only(dialect, "events"):
        op.execute(sa.text(statement))
    op.execute(sa.text(_overview(dialect)))


def _make_exam_tables() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_instance_uid", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("calling_ae", sa.Text, nullable=False),
        sa.Column("image_count", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_image_at", _TIME, nullable=False),
        sa.Column("analyzed_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", _TIME),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("failed_from", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_text", sa.Text),
        sa.Column("superseded_by", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["superseded_by"], ["jobs.id"], name="fk_jobs_superseded_by"),
        sa.UniqueConstraint(
            "study_instance_uid", "revision", name="uq_jobs_study_instance_uid_revision"
        ),
    )
    op.create_index("ix_jobs_status_due_at", "jobs", ["status", "due_at"])
    op.create_table(
        "images",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("sop_instance_uid", sa.Text, nullable=False),
        sa.Column("sop_class_uid", sa.Text, nullable=False),
        sa.Column("series_instance_uid", sa.Text, nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("calling_ae", sa.Text, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("laterality", sa.Text),
        sa.Column("view", sa.Text),
        sa.Column("intent", sa.Text),
        sa.Column("source_uids", sa.JSON, nullable=False),
        sa.Column("rows", sa.Integer),
        sa.Column("columns", sa.Integer),
        sa.Column("model", sa.Text),
        sa.Column("analyzed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_images_job_id"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_images_sop_instance_uid"),
    )
    op.create_index("ix_images_job_id", "images", ["job_id"])
    op.create_index("ix_images_series_instance_uid", "images", ["series_instance_uid"])
    op.create_table(
        "findings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_id", sa.Integer, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("center_column", sa.Float, nullable=False),
        sa.Column("center_row", sa.Float, nullable=False),
        sa.Column("outline", sa.JSON, nullable=False),
        sa.Column("area_mm2", sa.Float, nullable=False),
        sa.Column("operating_point", sa.Integer, nullable=False),
        sa.Column("calcifications", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_findings"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_findings_image_id"),
    )
    op.create_index("ix_findings_image_id", "findings", ["image_id"])


def _make_result_tables() -> None:
    op.create_table(
        "results",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sop_class_uid", sa.Text, nullable=False),
        sa.Column("sop_instance_uid", sa.Text, nullable=False),
        sa.Column("series_instance_uid", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_results_job_id"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_results_sop_instance_uid"),
    )
    op.create_index("ix_results_job_id", "results", ["job_id"])
    op.create_index("ix_results_series_instance_uid", "results", ["series_instance_uid"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("result_id", sa.Integer, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", _TIME),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_try_at", _TIME),
        sa.Column("dicom_status", sa.Integer),
        sa.Column("error_code", sa.Text),
        sa.Column("error_text", sa.Text),
        sa.Column("delivered_at", _TIME),
        sa.Column("transaction_uid", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_deliveries_job_id"),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name="fk_deliveries_result_id"),
        sa.UniqueConstraint("result_id", "destination", name="uq_deliveries_result_id_destination"),
    )
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"])
    op.create_index(
        "ix_deliveries_destination_status_due_at",
        "deliveries",
        ["destination", "status", "due_at"],
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Integer),
        sa.Column("subject_uid", sa.Text),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id"),
    )
    op.create_index("ix_events_job_id", "events", ["job_id"])
    op.create_index("ix_events_subject_uid", "events", ["subject_uid"])


# S608 is about strangers' text in SQL: there is none here, only the fragments of `dialect`.
def _overview(dialect: str) -> str:
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
            {deliveries("failed")} AS deliveries_failed,
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
                    ) o)
                WHEN j.status = 'failed'
                    THEN 'a person: retry or cancel'
                        || COALESCE(' (' || j.error_code || ': ' || j.error_text || ')', '')
                WHEN j.status = 'purged' THEN 'nothing'
                ELSE 'the end of its retention time'
            END AS waits_for
        FROM jobs j"""  # noqa: S608
