"""The message broker: its queues, what a message holds, and one way to give and to count them.

A message is the Celery task `cadnode.step` with a lane, a job number and a destination's name:
nothing of a patient, and nothing that would be missed if it were lost.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cadnode.core.errors import BrokerUnavailable, ConfigError
from cadnode.core.hints import Hint, Line, lines
from cadnode.core.jobs import Priority

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

TASK = "cadnode.step"

HIGHEST = 4
"""Priority of a message; more than there is use for now, since a queue keeps what it was made with."""

CONNECT_SECONDS = 4.0
ANSWER_SECONDS = 5.0
"""A broker that takes longer to take or to say something hangs, and counts as away."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is, and which queues a node has there."""

    url: str = field(repr=False)
    """With its password."""
    prefix: str
    """Of its queues."""
    destinations: tuple[str, ...]
    ca: Path | None = None
    """Whose certificates are trusted, for amqps and rediss; None: those the system trusts."""


def make_app(settings: BrokerSettings) -> Celery:
    """A Celery application that knows the queues of a node; nothing is connected yet.

    Raises ConfigError when Celery is not installed.
    """
    try:
        from celery import Celery
        from kombu import Exchange, Queue
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"celery.enabled needs the extra `celery` (pip install 'cadnode[celery]'): {error}"
        ) from error
    url, prefix = settings.url, settings.prefix
    exchange = Exchange(prefix, type="direct")
    redis = _is_redis(url)
    names = [queue_name(prefix, line) for line in lines(settings.destinations)]
    app = Celery(prefix, broker=url, set_as_current=False)
    app.conf.update(
        task_queues=[
            Queue(
                name,
                exchange,
                routing_key=name,
                queue_arguments=None if redis else {"x-max-priority": HIGHEST},
            )
            for name in names
        ],
        task_default_queue=names[0],
        task_default_exchange=prefix,
        task_default_routing_key=names[0],
        task_create_missing_queues=False,
        task_ignore_result=True,
        # A worker takes one message at a time and gives it back to the queue when it dies with it.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        accept_content=["json"],
        task_serializer="json",
        # Nobody may tell a worker anything but a job number, and nobody listens to its events.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A step keeps the connection waiting for longer than a heartbeat may be late.
        broker_heartbeat=0,
        broker_use_ssl=_tls(settings),
        broker_transport_options=_redis_options() if redis else _amqp_options(),
    )
    return app


def queue_name(prefix: str, line: Line) -> str:
    """As the broker's own tools show it."""
    return ".".join(part for part in (prefix, line.lane, line.destination) if part)


class Broker:
    """One connection for one thread: gives hints and counts those that wait."""

    def __init__(self, settings: BrokerSettings) -> None:
        """Nothing is connected yet. Raises ConfigError when Celery is not installed."""
        self._app = make_app(settings)
        self._prefix = settings.prefix
        self._lines = lines(settings.destinations)
        self._redis = _is_redis(settings.url)
        self._connection: Connection | None = None

    def give(self, hints: Sequence[Hint]) -> None:
        """Put one message for each into its queue. Raises BrokerUnavailable, and then some may
        have been given."""
        with self._connected() as connection:
            for hint in hints:
                self._app.send_task(
                    TASK,
                    args=(hint.line.lane, hint.exam_id, hint.line.destination),
                    queue=queue_name(self._prefix, hint.line),
                    priority=self._priority(hint.priority),
                    connection=connection,
                    retry=False,
                )

    def waiting(self) -> Mapping[Line, int]:
        """How many messages wait in each queue; those a worker has in hand are not counted.
        Makes queues that are not there. Raises BrokerUnavailable."""
        with self._connected() as connection:
            channel = connection.default_channel
            found = {}
            for line in self._lines:
                queue = self._app.amqp.queues[queue_name(self._prefix, line)].bind(channel)
                queue.declare()
                # Not "passive": Redis knows no empty queue.
                found[line] = int(queue.queue_declare().message_count)
            return found

    def reach(self) -> str:
        """Connect; the broker's address without its password. Raises BrokerUnavailable."""
        with self._connected() as connection:
            return str(connection.as_uri())

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def _priority(self, priority: Priority) -> int:
        # On Redis the lowest number goes first.
        return HIGHEST - priority if self._redis else int(priority)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        from kombu.exceptions import KombuError

        connection = self._connection or self._app.connection_for_write()
        trouble = (
            *connection.connection_errors,
            *connection.channel_errors,
            KombuError,
            OSError,
        )
        try:
            # Without this, a broker that is away would be called again and again.
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=CONNECT_SECONDS)
            yield connection
        except trouble as error:
            self._connection = None
            connection.release()
            raise BrokerUnavailable(f"the broker {connection.as_uri()}: {_why(error)}") from error
        self._connection = connection


def _why(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _is_redis(url: str) -> bool:
    return url.startswith("redis")


def _tls(settings: BrokerSettings) -> dict[str, object] | None:
    """How the broker's certificate is checked; None for a connection in clear."""
    parts = urlsplit(settings.url.partition(";")[0])
    ca = None if settings.ca is None else str(settings.ca)
    if parts.scheme == "rediss":
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_ca_certs": ca,
            "ssl_check_hostname": True,
        }
    if parts.scheme == "amqps":
        return {
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": ca,
            "server_hostname": parts.hostname,
        }
    return None


def _amqp_options() -> dict[str, object]:
    return {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}


def _redis_options() -> dict[str, object]:
    return {
        "priority_steps": list(range(HIGHEST + 1)),
        "queue_order_strategy": "priority",
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
    }
