"""The tables of the job database. `migrations/` makes them; a test holds the two together."""

from __future__ import annotations

from cadnode.storage.tables.accounts import api_tokens, sign_in_failures, users, web_sessions
from cadnode.storage.tables.base import UtcDateTime, metadata
from cadnode.storage.tables.exams import (
    commitment_items,
    commitment_requests,
    commitments,
    deliveries,
    events,
    exam_identifiers,
    findings,
    images,
    jobs,
    overview,
    patch_scores,
    replaced_images,
    results,
)
from cadnode.storage.tables.messages import event_cursors, notice_messages, notices
from cadnode.storage.tables.node import destination_states, golden_checks, processes, pulls

__all__ = [
    "UtcDateTime",
    "api_tokens",
    "commitment_items",
    "commitment_requests",
    "commitments",
    "deliveries",
    "destination_states",
    "event_cursors",
    "events",
    "exam_identifiers",
    "findings",
    "golden_checks",
    "images",
    "jobs",
    "metadata",
    "notice_messages",
    "notices",
    "overview",
    "patch_scores",
    "processes",
    "pulls",
    "replaced_images",
    "results",
    "sign_in_failures",
    "users",
    "web_sessions",
]
