"""An ExamStore in memory, for tests of everything that uses one.

It passes the same contract suite as the real one. Tests may look into `jobs`, `images`,
`results`, `deliveries` and `events`, but change them only through the protocol.
"""

from __future__ import annotations

from tests.contract.fake_analysis import FakeAnalysis
from tests.contract.fake_delivery import FakeDelivering
from tests.contract.fake_persons import FakePersons
from tests.contract.fake_proofs import FakeProofs
from tests.contract.fake_receiving import FakeReceiving
from tests.contract.fake_reporting import FakeReporting
from tests.contract.fake_retention import FakeRetention


class FakeExamStore(
    FakeReceiving,
    FakeAnalysis,
    FakeReporting,
    FakeDelivering,
    FakeProofs,
    FakePersons,
    FakeRetention,
):
    """Everything in dictionaries, by number; the lines by destination (see FakeLines)."""
