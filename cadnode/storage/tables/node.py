"""The tables of the node's own processes, pulls, destinations and checks."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Integer, Table, Text

from cadnode.storage.tables.base import UtcDateTime, metadata

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
