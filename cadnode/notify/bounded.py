"""A way to persons that comes back: a server that answers byte by byte holds it up no longer."""

from __future__ import annotations

import threading

from cadnode.core.errors import NoticeNotSent
from cadnode.core.notices import MESSAGE_LEASE, Channel, Message

SECONDS = MESSAGE_LEASE.total_seconds() - 30
"""For a whole message: nobody else begins to send it meanwhile."""


class Bounded:
    """A `Channel` that waits for another one, but not for ever."""

    def __init__(self, channel: Channel, seconds: float = SECONDS) -> None:
        self._channel = channel
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """As of the other channel."""
        return self._channel.name

    def send(self, message: Message) -> str:
        """As the other channel does; also raises NoticeNotSent when it takes too long, and while an
        earlier message is still on its way."""
        if self._thread is not None and self._thread.is_alive():
            raise NoticeNotSent("an earlier message is still being handed over")
        ended: list[str | NoticeNotSent] = []

        def hand_over() -> None:
            try:
                ended.append(self._channel.send(message))
            except NoticeNotSent as error:
                ended.append(error)

        # A socket's timeout begins anew with every byte, so somebody else looks at the clock.
        self._thread = threading.Thread(target=hand_over, name=f"{self.name} message", daemon=True)
        self._thread.start()
        self._thread.join(self._seconds)
        if not ended:
            raise NoticeNotSent(f"it was not handed over within {self._seconds:g} seconds")
        if isinstance(ended[0], NoticeNotSent):
            raise ended[0]
        return ended[0]
