"""The tables of the job database. `migrations/` makes them; a test holds the two together.

`jobs` has one row for each exam (one study at one revision), `exam_identifiers` at most one for
each, `images` one for each SOP instance, `results` one for each result object, `deliveries` one for
each result at each destination; `commitments` one for each time a destination was asked to commit,
`commitment_requests` one for each time a sender asked us; `events` only ever grows.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware time in UTC, also where the database knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC; ValueError for a time without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The same time, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# PostgreSQL finds values by their beginning only in an index in this order.
_BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")

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
)

# What an exam is looked for by; the only patient data outside the files. See `keep_identifiers`.
exam_identifiers = Table(
    "exam_identifiers",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    # As in `jobs`, so that what is found by one index is in order of time.
    Column("exam_created_at", UtcDateTime, nullable=False),
    Column("patient_id", _BYTEWISE),
    Column("accession_number", _BYTEWISE),
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

# One row for each [[pull]]: which process does it now, and when it is due again.
pulls = Table(
    "pulls",
    metadata,
    Column("name", Text, primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    # How the last turn ended.
    Column("ended_at", UtcDateTime),
    Column("fetched", Integer),
    Column("failed", Integer),
    Column("error_text", Text),
)

# One row for each process of the node that runs, or was killed a short while ago.
processes = Table(
    "processes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime, nullable=False),
    Column("facts", JSON, nullable=False),
)

# One row for each time that somebody had the golden example of a model recomputed.
golden_checks = Table(
    "golden_checks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("well", Boolean, nullable=False),
    # The largest difference of a score; empty when there was no score to compare.
    Column("difference", Float),
    Column("text", Text, nullable=False),
    Column("seconds", Float, nullable=False),
)

# One row for each destination that has been in trouble; see core/breaker.py.
destination_states = Table(
    "destination_states",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("probe_at", UtcDateTime),
    Column("error_text", Text, nullable=False),
)

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

# What persons are told: one row for each thing, open while it lasts; see core/notices.py.
notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("count", Integer, nullable=False),
    # Numbers of failed exams, some of them.
    Column("exams", JSON, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Index(
        "uq_notices_open_key",
        "key",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

# Each half of a notice (it begins, it ends) on each channel.
notice_messages = Table(
    "notice_messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("notice_id", Integer, ForeignKey("notices.id"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("first_due_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    Column("tries", Integer, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("error_text", Text),
    UniqueConstraint("notice_id", "channel", "about"),
    Index(None, "channel", "status", "due_at"),
)

# How far somebody has read the events.
event_cursors = Table(
    "event_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("event_id", Integer, nullable=False),
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
