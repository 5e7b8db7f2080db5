"""What the node counts and times about itself: the catalogue, and the port to whoever records it.

Every number a monitoring system may read stands here with its unit, its labels and its help text;
`docs/operations.md` has the same table, and a test compares the two. Labels name settings, codes
and states: never a UID, never a patient, and only values of which there are few.

Counters and histograms are recorded where things happen, each process its own; gauges of
`AT_SCRAPE` are read when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

OTHER = "other"
"""The label of whatever is not known by name."""

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds, in seconds, for what takes milliseconds."""

STEP = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""For one step of the work."""

EXAM = (5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0)
"""For the way of a whole exam."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that only grows."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that goes up and down; it counts while its process lives."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    adds_up: bool = False
    """Over several processes: their sum. Else all say the same, and the largest counts."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took, sorted into buckets."""

    name: str
    help: str
    buckets: tuple[float, ...]
    """Upper bounds in seconds, ascending; what is beyond the last is counted too."""
    labels: tuple[str, ...] = ()


Metric = Counter | Gauge | Histogram


class Metrics(Protocol):
    """Where numbers go. No method raises, waits, or takes more than microseconds."""

    def add(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        """Let `counter` grow; `labels` in the order of its definition."""
        ...

    def observe(self, histogram: Histogram, seconds: float, *labels: str) -> None:
        """Note how long it took this time."""
        ...

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """Note what is so from now on, until this process ends."""
        ...


def begin(metrics: Metrics, counter: Counter, *labels: str) -> None:
    """Show a counter as zero before it first grows: the first time is a growth, too."""
    metrics.add(counter, *labels, by=0.0)


class NoMetrics:
    """The port of a node, or a command, that nobody watches."""

    def add(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        """Nothing."""

    def observe(self, histogram: Histogram, seconds: float, *labels: str) -> None:
        """Nothing."""

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """Nothing."""


# ---- receiving -----------------------------------------------------------------------------

IMAGES_RECEIVED = Counter(
    "cadnode_images_received_total",
    "Objects that came by C-STORE: new, same, changed, conflict, or the status they were refused"
    " with. Senders that are neither [[peers]] nor [[sources]] are 'other'.",
    ("sender", "outcome"),
)
RECEIVED_BYTES = Counter(
    "cadnode_received_bytes_total", "Bytes of the objects that were kept.", ("sender",)
)
RECEIVE_DURATION = Histogram(
    "cadnode_receive_duration_seconds",
    "From the last byte of an object to its answer: synced, renamed, committed.",
    QUICK,
)
ASSOCIATIONS_ACCEPTED = Counter(
    "cadnode_associations_accepted_total", "Associations that were let in.", ("sender",)
)
ASSOCIATIONS_REFUSED = Counter(
    "cadnode_associations_refused_total", "Associations that were not let in.", ("reason",)
)
ASSOCIATIONS_OPEN = Gauge(
    "cadnode_associations_open", "Associations that are open now.", adds_up=True
)

# ---- analyzing -----------------------------------------------------------------------------

IMAGES_ANALYZED = Counter(
    "cadnode_images_analyzed_total",
    "Images that were looked at: 'analyzed', or the N code of why not.",
    ("outcome",),
)
DECODE_DURATION = Histogram(
    "cadnode_decode_duration_seconds", "Reading and decoding the pixels of one image.", STEP
)
INFERENCE_DURATION = Histogram(
    "cadnode_inference_duration_seconds", "The model's time for one batch of patches.", STEP
)
PATCHES = Counter("cadnode_patches_total", "Patches that the model has scored.")
PATCH_SECONDS = Counter("cadnode_patch_seconds_total", "Seconds that the model took for them.")
REPORT_DURATION = Histogram(
    "cadnode_report_duration_seconds", "Building one result object.", STEP, ("kind",)
)
MODEL_INFO = Gauge(
    "cadnode_model_info", "The model that `cadnode work` has loaded; always 1.", ("name", "version")
)

# ---- exams ---------------------------------------------------------------------------------

EXAM_MOVES = Counter("cadnode_exam_moves_total", "Exams that have come into a status.", ("status",))
RESULT_DELAY = Histogram(
    "cadnode_result_delay_seconds",
    "From the last image of an exam to the moment every destination has stored its result.",
    EXAM,
)

# ---- delivering ----------------------------------------------------------------------------

DELIVERIES = Counter(
    "cadnode_deliveries_total",
    "Attempts to deliver one object: stored, retry (it is sent again), failed (for good).",
    ("destination", "result"),
)
DELIVERY_DURATION = Histogram(
    "cadnode_delivery_duration_seconds",
    "One association that carried results to a destination.",
    STEP,
    ("destination",),
)
PROOFS = Counter(
    "cadnode_proofs_total",
    "What was learnt when a destination was asked whether it holds an object.",
    ("destination", "verdict"),
)

# ---- the processes -------------------------------------------------------------------------

LEASES_LOST = Counter(
    "cadnode_leases_lost_total", "Work that another process took over meanwhile.", ("lane",)
)
PROCESS_RESTARTS = Counter(
    "cadnode_process_restarts_total",
    "Processes that died and were started again by `cadnode serve`.",
    ("process",),
)
NOTIFICATIONS = Counter(
    "cadnode_notifications_total",
    "Messages to persons: sent, retry, failed (given up).",
    ("channel", "result"),
)
HINTS = Counter(
    "cadnode_hints_total",
    "Hints to workers by way of the broker: given, again (by the sweep), lost (the sweep finds what"
    " they were about).",
    ("result",),
)
HINTS_TAKEN = Counter(
    "cadnode_hints_taken_total",
    "Messages that a worker took: worked, or idle (nothing was due any more).",
    ("lane", "result"),
)
CERTIFICATE_EXPIRY = Gauge(
    "cadnode_certificate_not_after_timestamp_seconds",
    "When a certificate ends: the node's own, and those that destinations and sources show.",
    ("certificate",),
)

RECORDED: tuple[Metric, ...] = (
    IMAGES_RECEIVED,
    RECEIVED_BYTES,
    RECEIVE_DURATION,
    ASSOCIATIONS_ACCEPTED,
    ASSOCIATIONS_REFUSED,
    ASSOCIATIONS_OPEN,
    IMAGES_ANALYZED,
    DECODE_DURATION,
    INFERENCE_DURATION,
    PATCHES,
    PATCH_SECONDS,
    REPORT_DURATION,
    MODEL_INFO,
    EXAM_MOVES,
    RESULT_DELAY,
    DELIVERIES,
    DELIVERY_DURATION,
    PROOFS,
    LEASES_LOST,
    PROCESS_RESTARTS,
    NOTIFICATIONS,
    HINTS,
    HINTS_TAKEN,
    CERTIFICATE_EXPIRY,
)
"""What processes record while they work."""

# ---- read when somebody asks ---------------------------------------------------------------

BUILD_INFO = Gauge("cadnode_build_info", "The version of the program; always 1.", ("version",))
READY = Gauge(
    "cadnode_ready",
    "1 when the node can receive, analyze, deliver; else 0. /readyz says why not.",
    ("ability",),
)
DATABASE_UP = Gauge("cadnode_database_up", "1 when the job database answers.")
EXAMS = Gauge(
    "cadnode_exams",
    "Exams that are not finished: receiving, analyzed, reported, failed.",
    ("status",),
)
QUEUE_OLDEST = Gauge(
    "cadnode_queue_oldest_seconds",
    "Since the first image of the oldest exam of a lane came; 0 when none waits.",
    ("lane",),
)
DESTINATION_UP = Gauge(
    "cadnode_destination_up",
    "1 while the line to a destination is closed (results flow), 0 while it is open.",
    ("destination",),
)
DELIVERIES_WAITING = Gauge(
    "cadnode_deliveries_waiting", "Result objects still to be sent.", ("destination",)
)
DELIVERIES_FAILED = Gauge(
    "cadnode_deliveries_failed", "Result objects that wait for a person.", ("destination",)
)
DELIVERY_OLDEST = Gauge(
    "cadnode_delivery_oldest_seconds",
    "Age of the oldest result object still to be sent; 0 when none is.",
    ("destination",),
)
PROOFS_WAITING = Gauge(
    "cadnode_proofs_waiting",
    "Result objects stored there that the destination has still to prove it holds.",
    ("destination",),
)
DISK_FREE = Gauge("cadnode_disk_free_bytes", "Free room on the disk of data_dir.")
DISK_SIZE = Gauge("cadnode_disk_size_bytes", "Size of the disk of data_dir.")
PROCESS_UP = Gauge("cadnode_process_up", "1 when a process has been heard of lately.", ("process",))
PROCESS_START = Gauge(
    "cadnode_process_start_time_seconds", "When a process was started.", ("process",)
)
MODEL_DRIFT = Gauge(
    "cadnode_model_drift",
    "1 when the model's scores or marks have moved away from its reference, else 0. The page Model"
    " says how.",
)

AT_SCRAPE: tuple[Gauge, ...] = (
    BUILD_INFO,
    READY,
    DATABASE_UP,
    EXAMS,
    QUEUE_OLDEST,
    DESTINATION_UP,
    DELIVERIES_WAITING,
    DELIVERIES_FAILED,
    DELIVERY_OLDEST,
    PROOFS_WAITING,
    DISK_FREE,
    DISK_SIZE,
    PROCESS_UP,
    PROCESS_START,
    MODEL_DRIFT,
)
"""What is read from database, disk and heartbeats when somebody asks."""
