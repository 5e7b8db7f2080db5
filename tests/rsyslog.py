"""A real rsyslog as an audit repository on loopback, and what it has written down."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import READY_WITHIN, absent, free_port, require, running, stop

PATIENCE = 30.0


@dataclass(frozen=True)
class Certificates:
    """A certificate authority and one certificate for 127.0.0.1 and localhost, as PEM files."""

    ca: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """Fresh ones, made by OpenSSL."""
    program = require("openssl", "openssl")
    folder.mkdir(parents=True, exist_ok=True)

    def run(*arguments: str) -> None:
        command = [program, *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    ca_use = "keyUsage=critical,keyCertSign,cRLSign"
    run(
        *("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30"),
        *("-subj", "/CN=Test authority", "-addext", ca_use),
    )
    run(
        *("req", *curve, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    )
    run(
        *("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30"),
        *("-CAcreateserial", "-copy_extensions", "copy", "-out", "node.pem"),
    )
    return Certificates(folder / "ca.pem", folder / "node.pem", folder / "node.key")


@dataclass(frozen=True)
class AuditRepository:
    """A running rsyslog; a line of its file is PRI HOSTNAME APP-NAME PROCID MSGID|MSG."""

    port: int
    file: Path

    def lines(self) -> list[bytes]:
        """The lines of its file so far."""
        return self.file.read_bytes().splitlines() if self.file.exists() else []

    def messages(self) -> list[bytes]:
        """The XML messages so far."""
        return [line.split(b"|", 1)[1].removeprefix(b"\xef\xbb\xbf") for line in self.lines()]

    def wait_for(self, holds: Callable[[list[bytes]], object]) -> list[bytes]:
        """Poll until `holds` for the messages; they are returned."""
        deadline = time.monotonic() + PATIENCE
        while not holds(self.messages()):
            if time.monotonic() > deadline:
                pytest.fail(f"rsyslog has written in vain: {self.messages()}")
            time.sleep(0.02)
        return self.messages()


@contextmanager
def rsyslog(
    folder: Path, *, tls: Certificates | None = None, port: int | None = None
) -> Iterator[AuditRepository]:
    """An rsyslog of its own configuration, by UDP or with certificates by TLS.

    With TLS it asks for a certificate of the same authority. Ended at the end; the same folder and
    port again start it again, and it goes on in its file.
    """
    program = require("rsyslogd", "rsyslog")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    file = folder / "audit.log"
    if tls is None:
        listen = f'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{port}")\n'
        drivers = ""
    else:
        require_driver()
        drivers = (
            f' DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{tls.ca}"'
            f' DefaultNetstreamDriverCertFile="{tls.certificate}"'
            f' DefaultNetstreamDriverKeyFile="{tls.key}"'
        )
        listen = (
            'module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1"'
            ' StreamDriver.AuthMode="x509/certvalid")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{port}")\n'
        )
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}" maxMessageSize="64k"{drivers})\n{listen}'
        'template(name="audit" type="string"'
        ' string="%PRI% %HOSTNAME% %APP-NAME% %PROCID% %MSGID%|%msg%\\n")\n'
        # Only what comes over the network: rsyslog reports itself too.
        f'if $inputname == "im{"udp" if tls is None else "tcp"}" then'
        f' action(type="omfile" file="{file}" template="audit" flushInterval="1")\n'
    )
    command: list[str | Path] = [
        program,
        "-n",
        "-f",
        folder / "rsyslog.conf",
        "-i",
        folder / "rsyslog.pid",
    ]
    log = folder / "rsyslog.out"
    if tls is not None:
        with running(command, port, log):
            yield AuditRepository(port, file)
        return
    with log.open("ab") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)
    try:
        _wait_until_bound(port, process, log)
        yield AuditRepository(port, file)
    finally:
        stop(process)


def require_driver() -> None:
    """The TLS driver of rsyslog, or a skip that says how to install it; a failure in CI."""
    if any(Path("/usr/lib").glob("**/rsyslog/lmnsd_gtls.so")):
        return
    absent("rsyslog has no TLS driver: apt-get install rsyslog-gnutls")


def _wait_until_bound(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.02)
    pytest.fail(f"rsyslog did not listen on {port}:\n{log.read_text(errors='replace')}")
