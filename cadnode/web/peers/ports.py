"""What the page of settings and peers asks of the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cadnode.core.node_status import CertificateStatus
from cadnode.core.peers import EchoAnswer, PeerEntry, PeerKind
from cadnode.core.provenance import SettingsInForce


class Peers(Protocol):
    """The settings in force, and those whom they name."""

    def settings(self) -> SettingsInForce:
        """Every setting and where it came from, secrets hidden."""
        ...

    def peers(self) -> Sequence[PeerEntry]:
        """Destinations, sources and senders. Raises DatabaseUnavailable."""
        ...

    def certificates(self) -> Sequence[CertificateStatus]:
        """Every certificate that the settings name."""
        ...

    def echo(self, kind: PeerKind, name: str, *, by: str) -> EchoAnswer:
        """Ask a peer whether it answers; back within 20 s whatever it does.

        Whoever asks again within a few seconds gets the same answer. Raises NotFound for a peer
        that the settings do not name, ConfigError where they do not say where it listens.
        """
        ...
