"""OpenStack Swift with its S3 API on loopback: a real object store for the tests, one node, no copies."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cadnode.storage.objects import ObjectAccess
from tests.peers import free_port, require, stop, wait_for_port

KEY, SECRET, BUCKET = "test:tester", "a-secret-for-tests", "files"
_SERVERS = ("account", "container", "object")
_processes: dict[Path, subprocess.Popen[bytes]] = {}

_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for name, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(4, 1, 1)
    device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port)}
    builder.add_dev({**device, "device": "disk", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{name}.ring.gz")
"""

_COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 0
log_address = {folder}/no-syslog
log_level = ERROR
"""

# On a busy machine its servers wait for each other: after a second it would answer before the
# listing names the object, and after some trouble ask a server no more.
_PATIENCE = """conn_timeout = 20
node_timeout = 60
"""

_SERVER = (
    """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
container_update_timeout = 60
"""
    + _PATIENCE
)

# `cache` is there for its promises only: nothing answers at its address, and nothing needs it.
_PROXY = (
    """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_limit = 1000000
"""
    + _PATIENCE
    + """
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{nobody}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = a-secret-for-tests .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
)


@dataclass
class Swift:
    """A running Swift; its S3 API answers on `port` while it is up."""

    folder: Path
    port: int
    _up: ExitStack = field(default_factory=ExitStack)

    def access(self, prefix: str = "") -> ObjectAccess:
        """To a place of its own in its one bucket."""
        return ObjectAccess(
            f"s3://{BUCKET}/{prefix or uuid.uuid4().hex}",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            access_key=KEY,
            secret_key=SECRET,
            seconds=20.0,
        )

    def start(self) -> None:
        """Answer on `port`; what was stored before is there."""
        self._up.enter_context(_started("proxy", self.folder))
        _answers("proxy", self.folder, self.port)

    def stop(self) -> None:
        """Answer nobody until `start`."""
        self._up.close()


@contextmanager
def swift(folder: Path) -> Iterator[Swift]:
    """A Swift of its own below `folder`, on a file system with extended attributes."""
    # Of an extra, and this module is loaded for every test.
    import fsspec

    for name in (*_SERVERS, "proxy"):
        require(f"swift-{name}-server", f"swift-{name}")
    (folder / "devices" / "disk").mkdir(parents=True)
    hashes = "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = one\n"
    (folder / "swift.conf").write_text(f"{hashes}default = yes\n")
    ports = [free_port() for _ in _SERVERS]
    # Its modules belong to the system's Python, not to the one that runs the tests.
    subprocess.run(
        ["/usr/bin/python3", "-c", _RINGS, str(folder), *map(str, ports)], check=True, cwd=folder
    )
    with ExitStack() as servers:
        for name, port in zip(_SERVERS, ports, strict=True):
            text = _common(folder, port) + _SERVER.format(name=name)
            (folder / f"{name}.conf").write_text(text)
            servers.enter_context(_started(name, folder))
        peer = Swift(folder, free_port())
        proxy = _common(folder, peer.port) + _PROXY.format(nobody=free_port())
        (folder / "proxy.conf").write_text(proxy)
        peer.start()
        for name, port in zip(_SERVERS, ports, strict=True):
            _answers(name, folder, port)
        try:
            files = fsspec.filesystem(
                "s3",
                key=KEY,
                secret=SECRET,
                endpoint_url=peer.access().endpoint_url,
                skip_instance_cache=True,
            )
            files.mkdir(BUCKET)
            yield peer
        finally:
            peer.stop()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A Swift for all tests of a process, each below a prefix of its own."""
    with swift(tmp_path_factory.mktemp("swift") / "swift") as peer:
        yield peer


@contextmanager
def _started(name: str, folder: Path) -> Iterator[None]:
    program = require(f"swift-{name}-server", f"swift-{name}")
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [program, str(folder / f"{name}.conf")], stdout=log, stderr=subprocess.STDOUT
        )
    _processes[folder / name] = process
    try:
        yield
    finally:
        stop(process)


def _answers(name: str, folder: Path, port: int) -> None:
    wait_for_port(port, _processes[folder / name], folder / f"{name}.log")


def _common(folder: Path, port: int) -> str:
    return _COMMON.format(port=port, user=folder.owner(), folder=folder)
