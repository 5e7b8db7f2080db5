"""An upper layer state machine that ends its association, not its thread, when it breaks.

pynetdicom 3.0 lets an exception in an action, or an event that its table does not know in a state
(an abort that crosses our own answer), end the thread of the upper layer. Whoever waits on the
association then waits for a time-out, and what had been received so far stays on the disk.
"""

from __future__ import annotations

import logging

from pynetdicom import evt
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_P_ABORT

log = logging.getLogger(__name__)

_UNEXPECTED_PDU = 0x02
_PROVIDER = 0x02
_NOBODY_ASSOCIATED = ("Sta1", "Sta2")
"""pynetdicom takes what comes to the user in these states for an A-ASSOCIATE indication."""


class EndingStateMachine(StateMachine):
    """Aborts (A-P-ABORT, PS3.8 9.3.8) and closes the connection where pynetdicom's would raise."""

    def do_action(self, event: str) -> None:
        """Act on one event; never raises."""
        try:
            super().do_action(event)
        except Exception as error:  # noqa: BLE001  whatever a peer can make a library raise
            log.warning("aborted an association: %s after %s", type(error).__name__, event)
            self._end()

    def _end(self) -> None:
        dul, association = self.dul, self.dul.assoc
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = _PROVIDER, _UNEXPECTED_PDU
        dul._send(abort)
        if self.current_state not in _NOBODY_ASSOCIATED:
            told = A_P_ABORT()
            told.provider_reason = _UNEXPECTED_PDU
            dul.to_user_queue.put(told)
            association.dimse.msg_queue.put((None, None))
        association.is_aborted = True
        association.is_established = False
        association._kill = True
        if dul.socket is not None:
            dul.socket.close()
        evt.trigger(association, evt.EVT_ABORTED, {})
        dul.kill_dul()
