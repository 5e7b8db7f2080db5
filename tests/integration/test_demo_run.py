"""The demo as people start it: to its end, into trouble, and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, MammographyCADSRStorage
from rich.console import Console

from cadnode.demo import run
from cadnode.demo.__main__ import main
from cadnode.demo.run import DemoOptions, run_demo
from cadnode.demo.running import DemoFailed

pytestmark = pytest.mark.node


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    # The temporary folder of its own tells its processes from those of other tests.
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "cadnode.demo", "--out", str(tmp_path / "out"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )


def processes_that_name(text: str) -> list[str]:
    """The command lines of the running processes that contain `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


def test_the_demo_leaves_what_the_archive_holds(tmp_path: Path) -> None:
    demo = start(tmp_path)
    said, _ = demo.communicate(timeout=580)
    assert demo.returncode == 0, said
    out = tmp_path / "out"
    for exam in ("exam-1", "exam-2"):
        assert "2 of 2 SRs" in said or "1 of 1 SRs" in said
        for view in ("RCC", "LCC", "RMLO", "LMLO"):
            assert (out / exam / f"{view}.png").read_bytes().startswith(b"\x89PNG")
        report = dcmread(out / exam / "mammography-cad-sr.dcm")
        assert report.SOPClassUID == MammographyCADSRStorage
        twin = out / exam / "tid1500-sr.dcm"
        if twin.exists():
            assert dcmread(twin).SOPClassUID == ComprehensiveSRStorage
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "not all there" not in page
    assert not list((tmp_path / "tmp").iterdir())


def test_an_interrupted_demo_stops_every_process_it_started(tmp_path: Path) -> None:
    demo = start(tmp_path, "--small-archive")
    assert demo.stdout is not None
    deadline = time.monotonic() + 120
    said = ""
    while "Node: cadnode" not in said:
        assert time.monotonic() < deadline
        line = demo.stdout.readline()
        assert line, said
        said += line
    assert processes_that_name(str(tmp_path / "tmp"))
    demo.send_signal(signal.SIGTERM)
    rest, _ = demo.communicate(timeout=90)
    assert demo.returncode == 130, said + rest
    assert "everything is stopped" in rest
    assert processes_that_name(str(tmp_path / "tmp")) == []
    assert not list((tmp_path / "tmp").iterdir())


def test_a_missing_model_is_said_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "default_models_folder", lambda: tmp_path / "models")
    assert main(["--out", str(tmp_path / "out")]) == 1
    assert "the model is not there" in " ".join(capsys.readouterr().err.split())
    assert not list((tmp_path / "out" / "logs").iterdir())


def test_exams_that_take_too_long_are_reported_with_the_log_of_the_node(tmp_path: Path) -> None:
    options = DemoOptions(tmp_path / "out", seconds=0.0, small_archive=True)
    with pytest.raises(DemoFailed, match="not done after 0 s") as why:
        run_demo(options, Console(quiet=True))
    assert "The end of the node's log" in str(why.value)
    assert (tmp_path / "out" / "logs" / "node.log").read_text()
    assert not (tmp_path / "out" / "report.html").exists()
