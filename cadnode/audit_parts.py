"""The way to the audit repository, built from the settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from cadnode.audit.messages import AuditSource
from cadnode.audit.syslog import Transport, open_transport
from cadnode.audit.trail import SyslogTrail
from cadnode.config import Settings
from cadnode.core.audit import Party
from cadnode.dicom.subject import subject_of


def audit_transport(settings: Settings) -> Transport:
    """See `App.audit_transport`."""
    audit = settings.audit
    return open_transport(
        audit.transport,
        audit.host,
        audit.port,
        ca=audit.ca,
        certificate=audit.certificate,
        key=audit.key,
    )


def audit_trail(
    settings: Settings, party: Party, *, process: str, clock: Callable[[], datetime]
) -> SyslogTrail:
    """The trail of `process`, one of those of the node that is named `party`.

    Raises ConfigError when a certificate that the settings name cannot be used.
    """
    return SyslogTrail(
        audit_transport(settings),
        AuditSource(
            name=settings.node.station_name,
            ae_title=party.ae_title,
            host=party.host,
            process=process,
            process_id=os.getpid(),
        ),
        subject_of=subject_of,
        clock=clock,
    )
