"""The real programs end in time, whatever hangs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.silent import silent

pytestmark = pytest.mark.node

SOON = 10.0
"""Seconds in which a process has ended after SIGTERM."""


def test_a_worker_ends_while_its_housekeeping_waits_for_an_object_store_that_hangs(tmp_path: Path):
    with silent() as store:
        config = tmp_path / "cadnode.toml"
        config.write_text(
            '[node]\ndata_dir = "data"\n[storage]\nurl = "s3://files/prefix"\nregion = "x"\n'
            f'endpoint_url = "http://127.0.0.1:{store.port}"\nseconds = 120.0\n'
            'access_key = "somebody"\nsecret_key = "secret"\n'
        )
        command = [sys.executable, "-m", "cadnode", "work", "--lanes", "housekeeping"]
        with (tmp_path / "log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, "--config", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            assert store.called.wait(60), (tmp_path / "log").read_text()
            begun = time.monotonic()
            worker.terminate()
            assert worker.wait(timeout=60) == 0
            assert time.monotonic() - begun < SOON
        finally:
            worker.kill()
            worker.wait()
