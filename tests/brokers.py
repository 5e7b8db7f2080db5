"""Real message brokers for tests: RabbitMQ and Redis on free ports, in folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.certificates import SiteCa
from tests.peers import absent, accepts, free_port, require, stop, wait_for_port

_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the one on the PATH, which changes to the user that the packaged service runs as."""

PASSWORD = "a-secret"  # noqa: S105


class BrokerServer(Protocol):
    """A broker that a test starts and breaks."""

    port: int

    @property
    def url(self) -> str: ...

    @property
    def tls_url(self) -> str:
        """With a certificate for "localhost" that `ca` has issued."""
        ...

    @property
    def ca(self) -> Path: ...

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it answers."""
        ...

    def kill(self) -> None:
        """SIGKILL; what it has on disk stays."""
        ...

    def frozen(self) -> AbstractContextManager[None]:
        """It hangs meanwhile: connections stay, and nothing is answered."""
        ...


@dataclass
class RabbitMQ:
    """A node of RabbitMQ with an epmd of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    _tls_port: int = field(default_factory=free_port)
    _distribution: int = field(default_factory=free_port)
    _epmd: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self._files = SiteCa(self.folder).issue("broker", "localhost")

    @property
    def url(self) -> str:
        """With the account that its settings make."""
        return f"amqp://cadnode:{PASSWORD}@127.0.0.1:{self.port}//"

    @property
    def tls_url(self) -> str:
        """See BrokerServer.tls_url."""
        return f"amqps://cadnode:{PASSWORD}@localhost:{self._tls_port}//"

    @property
    def ca(self) -> Path:
        """Whose certificate it has."""
        return self.folder / "ca.crt"

    def start(self) -> None:
        """See BrokerServer.start. Takes a few seconds."""
        (self.folder / "rabbitmq.conf").write_text(
            f"default_user = cadnode\ndefault_pass = {PASSWORD}\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 20MB\n"
            f"listeners.ssl.default = 127.0.0.1:{self._tls_port}\n"
            f"ssl_options.cacertfile = {self.ca}\n"
            f"ssl_options.certfile = {self._files.certificate}\n"
            f"ssl_options.keyfile = {self._files.key}\nssl_options.verify = verify_none\n"
        )
        (self.folder / "enabled_plugins").write_text("[].\n")
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [_RABBITMQ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        wait_for_port(self.port, self._process, log, seconds=90.0)

    def kill(self) -> None:
        """See BrokerServer.kill."""
        self._end(signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """See BrokerServer.frozen."""
        assert self._process is not None
        group = self._process.pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    def stop(self) -> None:
        """End it; what it holds is about to be deleted."""
        self._end(signal.SIGKILL)

    @property
    def epmd_port(self) -> int:
        """Where its port mapper is to listen."""
        return self._epmd

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            process.wait()
            # It is a child of the one that was waited for, and goes a moment later.
            while accepts(self.port):
                time.sleep(0.02)

    @property
    def _environment(self) -> Mapping[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"cadnode{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # Its idle schedulers would keep busy what the tests need.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }


@dataclass
class Redis:
    """A Redis that keeps everything in memory."""

    folder: Path
    port: int = field(default_factory=free_port)
    _tls_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self._files = SiteCa(self.folder).issue("broker", "localhost")

    @property
    def url(self) -> str:
        """With its password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """See BrokerServer.tls_url."""
        return f"rediss://:{PASSWORD}@localhost:{self._tls_port}/0"

    @property
    def ca(self) -> Path:
        """Whose certificate it has."""
        return self.folder / "ca.crt"

    def start(self) -> None:
        """See BrokerServer.start."""
        command = [require("redis-server", "redis-server"), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
        command += ["--tls-port", str(self._tls_port), "--tls-auth-clients", "no"]
        command += ["--tls-cert-file", str(self._files.certificate)]
        command += ["--tls-key-file", str(self._files.key), "--tls-ca-cert-file", str(self.ca)]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        wait_for_port(self.port, self._process, log)

    def kill(self) -> None:
        """See BrokerServer.kill."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """See BrokerServer.frozen."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ that answers, ended with nothing left behind."""
    if not _RABBITMQ.exists():
        absent("rabbitmq-server is not installed: apt-get install rabbitmq-server")
    epmd = require("epmd", "rabbitmq-server")
    folder = Path(tempfile.mkdtemp(prefix="cadnode-rabbitmq-"))
    server = RabbitMQ(folder)
    # In the foreground, so that no daemon is left over.
    command = [epmd, "-port", str(server.epmd_port), "-address", "127.0.0.1"]
    mapper = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(server.epmd_port, mapper, folder / "epmd.log")
        server.start()
        yield server
    finally:
        server.stop()
        stop(mapper)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[Redis]:
    """A Redis that answers, ended with nothing left behind."""
    folder = Path(tempfile.mkdtemp(prefix="cadnode-redis-"))
    server = Redis(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
