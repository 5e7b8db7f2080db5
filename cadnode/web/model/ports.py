"""What the page of the model asks of the node."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from cadnode.core.bundle_facts import BundleFacts, GoldenState, InstalledBundle, LoadedModel
from cadnode.core.drift import DriftVerdict, ScoreReference


class ModelDesk(Protocol):
    """The bundles, the golden example and the watch over drift."""

    def in_force(self) -> BundleFacts:
        """The bundle the settings name. Raises ModelUnfit, ConfigError."""
        ...

    def bundle(self, name: str, version: str) -> BundleFacts:
        """Any bundle that is installed. Raises NotFound, ModelUnfit."""
        ...

    def installed(self) -> Sequence[InstalledBundle]:
        """Every bundle there is."""
        ...

    def loaded(self) -> Sequence[LoadedModel]:
        """What the workers say they have loaded. Raises DatabaseUnavailable."""
        ...

    def drift(self) -> DriftVerdict:
        """The verdict on the model in force, with half a year of weeks; at most ten minutes old.

        Raises ModelUnfit, ConfigError, DatabaseUnavailable.
        """
        ...

    def make_reference(
        self, first: date | None, last: date | None, *, note: str, replace: bool, actor: str
    ) -> ScoreReference:
        """Make the site's reference from the exams of a period, both days included.

        Raises ConfigError for too few exams, and for one that is there and not to be replaced.
        """
        ...

    def golden(self) -> GoldenState:
        """What is known of the golden example. Raises DatabaseUnavailable."""
        ...

    def check_golden(self, actor: str) -> GoldenState:
        """Begin to compute it again, in a process of its own; it takes some seconds.

        Raises IllegalMove while one is running, ModelUnfit, ConfigError.
        """
        ...
