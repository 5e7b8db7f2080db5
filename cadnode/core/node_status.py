"""How the node is doing, as an administrator asks it: plain values, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cadnode.core.breaker import LineState
from cadnode.core.processes import ProcessRecord


@dataclass(frozen=True, slots=True)
class Hour:
    """What came in one hour."""

    begins_at: datetime
    exams: int


@dataclass(frozen=True, slots=True)
class Durations:
    """From the last image of an exam to the delivery of its last result object."""

    exams: int
    """Delivered in the time asked about; the others count nothing."""
    p50_seconds: float | None
    """Half of the newest 5,000 of them took no longer; None without an exam."""
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class FailedExams:
    """Exams that failed for one cause and wait for a person."""

    code: str
    exams: int


@dataclass(frozen=True, slots=True)
class OldestExam:
    """The exam that has waited longest."""

    id: int
    status: str
    since: datetime
    """When its first image came."""


@dataclass(frozen=True, slots=True)
class DayCounts:
    """What the job database says of the day."""

    hours: tuple[Hour, ...]
    """Of the day so far, from its first hour on."""
    today: int
    """Exams that began today."""
    waiting: int
    """Exams to be analyzed or reported that nobody works on."""
    running: int
    """Exams that a worker holds by a lease."""
    delivering: int
    """Exams whose result objects wait to be stored somewhere."""
    failed: tuple[FailedExams, ...]
    """By cause, the most frequent first."""
    oldest: OldestExam | None
    """Of those waiting, running and delivering."""
    took_today: Durations
    took_week: Durations
    """The last seven days, today included."""

    @property
    def failed_exams(self) -> int:
        """All of them together."""
        return sum(item.exams for item in self.failed)


@dataclass(frozen=True, slots=True)
class Influx:
    """What has been received of late."""

    bytes: int
    seconds: float
    """The span that `bytes` came in; 0 when nothing came."""
    oldest_kept_at: datetime | None
    """When the oldest exam began whose files are still there."""


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """Where one destination stands."""

    name: str
    enabled: bool | None
    """None: it is not in the settings any more."""
    state: LineState
    since: datetime | None
    probe_at: datetime | None
    waiting: int
    """Result objects still to be sent there."""
    oldest: datetime | None
    failed: int
    unproved: int
    delivered_at: datetime | None
    """When it last stored something."""
    error: str
    """What was last wrong with it; it may be over."""


@dataclass(frozen=True, slots=True)
class PullRecord:
    """One `[[pull]]` as the job database knows it."""

    name: str
    """Its source and modality."""
    due_at: datetime
    running_until: datetime | None
    """The end of the lease while a process pulls."""
    ended_at: datetime | None
    """When the last turn ended; None before the first one."""
    fetched: int | None
    failed: int | None
    error: str
    """What broke the last turn off; empty when it went to its end."""


@dataclass(frozen=True, slots=True)
class PullStatus:
    """Where one `[[pull]]` of the settings stands."""

    source: str
    modality: str
    due_at: datetime | None
    running: bool
    ended_at: datetime | None
    fetched: int
    failed: int
    error: str


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """The disk of the data folder, in bytes."""

    folder: str
    total: int
    free: int
    reserve: int
    """Receiving stops below this much free."""
    per_day: float | None
    """What is received in a day at the present rate; None when nothing came of late."""
    days_left: float | None
    """Until receiving stops, at the present rate; None when it will not, or nobody can say."""
    levels_off: bool
    """True when the retention takes away as much as comes before the disk is full."""
    problem: str = ""
    """Why nothing can be said."""

    @property
    def used(self) -> int:
        """By anybody."""
        return self.total - self.free


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate that the settings name."""

    use: str
    """`node`, `trusted by the node`, `audit`, ..."""
    file: str
    subject: str
    names: tuple[str, ...]
    """Host names and addresses that it is for."""
    expires_at: datetime | None
    """None where the file cannot be read."""
    key_matches: bool | None
    """None where no key belongs to it."""
    problem: str
    """Why it does not serve; empty when it does."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is not as it should be, in plain words."""

    urgent: bool
    """True: a person has to do something now. False: worth knowing."""
    topic: str
    """`process`, `model`, `failed`, `destination`, `source`, `disk`, `certificate`, `audit`, `broker`,
    `waiting`, `drift`: a stable name for programs."""
    subject: str
    """Which one, as the name of a destination or an error code; may be empty."""
    what: str
    do: str
    path: str = ""
    """The page of the console that shows it; empty for none."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Everything on the page of the day."""

    at: datetime
    station_name: str
    version: str
    day: DayCounts
    destinations: tuple[DestinationStatus, ...]
    pulls: tuple[PullStatus, ...]
    disk: DiskStatus
    processes: tuple[ProcessRecord, ...]
    certificates: tuple[CertificateStatus, ...]
    alerts: tuple[Alert, ...]

    @property
    def is_well(self) -> bool:
        """True when nothing needs a person."""
        return not any(alert.urgent for alert in self.alerts)


def forecast(
    *, free: int, reserve: int, influx: Influx, max_age: timedelta, now: datetime
) -> tuple[float | None, float | None, bool]:
    """(bytes a day, days until receiving stops, whether the retention keeps the disk from filling).

    The disk fills until exams reach the age at which they are purged; from then on as much goes as
    comes. So it is full in `days` only when that is sooner.
    """
    if influx.seconds <= 0 or not influx.bytes:
        return None, None, False
    per_day = influx.bytes / (influx.seconds / 86_400)
    days = max(0.0, (free - reserve) / per_day)
    kept = now - influx.oldest_kept_at if influx.oldest_kept_at else timedelta(0)
    grows_for = max(timedelta(0), max_age - kept) / timedelta(days=1)
    if days > grows_for:
        return per_day, None, True
    return per_day, days, False


def days_until(moment: datetime, now: datetime) -> int:
    """Whole days from now; negative when it is over."""
    return int((moment - now) // timedelta(days=1))


def by_code(counts: Mapping[str | None, int]) -> Sequence[FailedExams]:
    """Failed exams by cause, the most frequent first; E000 for those without a code."""
    found = [FailedExams(code or "E000", exams) for code, exams in counts.items()]
    return sorted(found, key=lambda item: (-item.exams, item.code))
