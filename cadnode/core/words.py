"""Numbers, spans and states of the node as a person reads them, in the terminal and the browser."""

from __future__ import annotations

from datetime import datetime

from cadnode.core.breaker import LineState
from cadnode.core.node_status import DestinationStatus, DiskStatus


def size(number: float) -> str:
    """Bytes in powers of 1000: `12.3 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit in ("B", "kB") else f"{number:.1f} {unit}"


def duration(seconds: float) -> str:
    """`4.2 s`, `40 s`, `12 min`, `3 h`, `5 d`: one unit, the last one before it would be below 2."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def disk_outlook(disk: DiskStatus) -> str:
    """When the disk is full."""
    if disk.per_day is None:
        return "too little came of late to say when it is full"
    rate = f"{size(disk.per_day)} come in a day"
    if disk.levels_off or disk.days_left is None:
        return f"{rate}, and the retention keeps it from filling"
    days = f"{disk.days_left:.1f}" if disk.days_left < 10 else f"{disk.days_left:.0f}"
    return f"{rate}: full in {days} days"


def destination_state(item: DestinationStatus, now: datetime) -> str:
    """Whether a destination takes what it gets."""
    if item.enabled is None:
        return "not in the settings"
    if not item.enabled:
        return "not enabled"
    if item.state is LineState.CLOSED:
        return "up" if item.delivered_at else "nothing sent yet"
    if item.probe_at is None:
        return "does not answer"
    asked = max(0.0, (item.probe_at - now).total_seconds())
    return f"does not answer, asked again in {int(asked)} s"
