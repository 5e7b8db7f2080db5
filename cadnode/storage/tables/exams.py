"""The tables of exams and of what becomes of them.

`jobs` has one row for each exam (one study at one revision), `exam_identifiers` at most one for
each, `images` one for each SOP instance, `results` one for each result object, `deliveries` one for
each result at each destination; `commitments` one for each time a destination was asked to commit,
`commitment_requests` one for each time a sender asked us; `events` only ever grows.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from cadnode.storage.tables.base import BYTEWISE, UtcDateTime, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_instance_uid", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("calling_ae", Text, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_image_at", UtcDateTime, nullable=False),
    Column("analyzed_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("due_at", UtcDateTime, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    Column("tries", Integer, nullable=False),
    Column("failed_from", Text),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("superseded_by", Integer, ForeignKey("jobs.id")),
    # Something of the earlier revision no longer holds: the exam is reported even with no new image.
    Column("renews", Boolean, nullable=False, server_default=false()),
    Column("priority", Integer, nullable=False, server_default="0"),
    UniqueConstraint("study_instance_uid", "revision"),
    Index(None, "status", "due_at"),
    Index(None, "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "calling_ae", "status", "created_at", "id"),
    # When every destination had first stored its objects.
    Column("delivered_at", UtcDateTime),
    Index(None, "delivered_at", "image_count", "last_image_at"),
    Index(
        None,
        "lease_until",
        sqlite_where=text("lease_until IS NOT NULL"),
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
    # What may be purged, the oldest first.
    Index(
        "ix_jobs_to_purge",
        "finished_at",
        "id",
        sqlite_where=text("status <> 'purged'"),
        postgresql_where=text("status <> 'purged'"),
    ),
)

# What an exam is looked for by; the only patient data outside the files. See `keep_identifiers`.
exam_identifiers = Table(
    "exam_identifiers",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    # As in `jobs`, so that what is found by one index is in order of time.
    Column("exam_created_at", UtcDateTime, nullable=False),
    Column("patient_id", BYTEWISE),
    Column("accession_number", BYTEWISE),
    Column("study_date", Date),
    Index(None, "patient_id", "exam_created_at", "job_id"),
    Index(None, "accession_number", "exam_created_at", "job_id"),
    Index(None, "study_date", "exam_created_at", "job_id"),
)

images = Table(
    "images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("sop_instance_uid", Text, nullable=False, unique=True),
    Column("sop_class_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False, index=True),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("path", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("calling_ae", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    Column("laterality", Text),
    Column("view", Text),
    Column("intent", Text),
    Column("source_uids", JSON, nullable=False),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("model", Text),
    Column("analyzed_at", UtcDateTime),
    # Came again, unchanged, after it was purged; its result had been delivered.
    Column("returned", Boolean, nullable=False, server_default=false()),
    # The highest probability of its patches.
    Column("top_score", Float),
    Index(None, "model", "received_at", "job_id", "top_score"),
)

# Bytes that others of the same SOP Instance UID took the place of; kept until their exam is purged.
replaced_images = Table(
    "replaced_images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("sop_instance_uid", Text, nullable=False),
    Column("path", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("calling_ae", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("replaced_at", UtcDateTime, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_id", Integer, ForeignKey("images.id"), nullable=False, index=True),
    Column("score", Float, nullable=False),
    Column("center_column", Float, nullable=False),
    Column("center_row", Float, nullable=False),
    Column("outline", JSON, nullable=False),
    Column("area_mm2", Float, nullable=False),
    Column("operating_point", Integer, nullable=False),
    Column("calcifications", JSON, nullable=False),
)

# What the model said of each patch of an image, as it was last read; see storage/patch_scores.py.
patch_scores = Table(
    "patch_scores",
    metadata,
    Column("image_id", Integer, ForeignKey("images.id"), primary_key=True),
    Column("image_rows", Integer, nullable=False),
    Column("image_columns", Integer, nullable=False),
    # Received pixels per pixel at the model's pitch, in which patches are counted.
    Column("row_scale", Float, nullable=False),
    Column("column_scale", Float, nullable=False),
    Column("patch_size", Integer, nullable=False),
    # Each patch: first row, first column (int32), probability (float16); little-endian, deflated.
    Column("patch_count", Integer, nullable=False),
    Column("patches", LargeBinary, nullable=False),
    # The heat map: received pixels per cell, and its cells in 1/255, deflated.
    Column("heat_rows", Integer, nullable=False),
    Column("heat_columns", Integer, nullable=False),
    Column("heat_row_step", Float, nullable=False),
    Column("heat_column_step", Float, nullable=False),
    Column("heat", LargeBinary, nullable=False),
    # The model's score thresholds by operating point, and the one shown by default.
    Column("thresholds", JSON, nullable=False),
    Column("recommended", Integer, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False, unique=True),
    Column("series_instance_uid", Text, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("result_id", Integer, ForeignKey("results.id"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    # Claims since a person last said "again", and claims altogether.
    Column("tries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_try_at", UtcDateTime),
    Column("dicom_status", Integer),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("delivered_at", UtcDateTime),
    Column("transaction_uid", Text),
    # Whether the destination has proved that it holds the object; empty when no proof is wanted.
    Column("proof", Text),
    Column("proof_due_at", UtcDateTime),
    # Claims, unanswered requests and refusals since the proof became due.
    Column("proof_tries", Integer, nullable=False, server_default="0"),
    Column("proof_asks", Integer, nullable=False, server_default="0"),
    Column("proof_failures", Integer, nullable=False, server_default="0"),
    Column("proof_text", Text),
    Column("proved_at", UtcDateTime),
    # As in `jobs`.
    Column("priority", Integer, nullable=False, server_default="0"),
    UniqueConstraint("result_id", "destination"),
    Index(None, "destination", "status", "due_at"),
    Index(None, "destination", "proof", "proof_due_at"),
    Index(None, "destination", "delivered_at"),
    # What is claimed, in the order in which it is.
    Index(
        "ix_deliveries_pending",
        "destination",
        "priority",
        "due_at",
        "id",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
)

commitments = Table(
    "commitments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", Text, nullable=False, unique=True),
    Column("destination", Text, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("reported_at", UtcDateTime),
)

commitment_items = Table(
    "commitment_items",
    metadata,
    Column("commitment_id", Integer, ForeignKey("commitments.id"), primary_key=True),
    Column("delivery_id", Integer, ForeignKey("deliveries.id"), primary_key=True, index=True),
)

commitment_requests = Table(
    "commitment_requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", Text, nullable=False),
    Column("calling_ae", Text, nullable=False),
    Column("calling_host", Text, nullable=False),
    # [SOP class UID, SOP instance UID] of each object that the sender asks about.
    Column("items", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    Column("tries", Integer, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("committed", Integer),
    Column("failed", Integer),
    Column("error_text", Text),
    UniqueConstraint("calling_ae", "transaction_uid"),
    Index(None, "status", "due_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), index=True),
    # The image or result object the event is about; empty when it is about the exam.
    Column("subject_uid", Text, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text),
    Column("text", Text, nullable=False),
    Column("actor", Text, nullable=False),
)

# The view is not part of `metadata`: it is read, never made, from here.
overview = Table(
    "exam_overview",
    MetaData(),
    Column("id", Integer),
    Column("study_instance_uid", Text),
    Column("revision", Integer),
    Column("status", Text),
    Column("created_at", UtcDateTime),
    Column("last_image_at", UtcDateTime),
    Column("age_seconds", Integer),
    Column("images", Integer),
    Column("images_waiting", Integer),
    Column("images_analyzed", Integer),
    Column("images_set_aside", Integer),
    Column("images_failed", Integer),
    Column("findings", Integer),
    Column("deliveries_pending", Integer),
    Column("deliveries_failed", Integer),
    Column("proofs_pending", Integer),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("waits_for", Text),
)
