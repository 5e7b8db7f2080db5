"""What one process works on, and what becomes of it at its end."""

from __future__ import annotations

from structlog.testing import capture_logs

from cadnode.core.errors import DatabaseUnavailable
from cadnode.lanes import WorkLanes
from cadnode.worker import DeliveryLane


class Holding(DeliveryLane):
    """A lane with work in its hands, and a database that is away."""

    def __init__(self) -> None:
        """Nothing more of it is asked."""

    def hand_back(self) -> None:
        raise DatabaseUnavailable("the server does not answer")


def test_a_worker_ends_though_the_database_is_why_it_could_not_finish():
    lanes = WorkLanes("host:1:a", analysis=None, deliveries=[Holding()], pulls=[], others=[])
    with capture_logs() as lines:
        lanes.hand_back()
    (line,) = lines
    assert (line["log_level"], "E704" in line["detail"]) == ("warning", True)
