"""The way to the decoding process: one frame there and back, within limits of time and memory.

What goes wrong over there is one image's failure. The process is started when the first compressed
image comes and again after it died; it ends with its owner, however that ends: its standard input
is a pipe, and a decoder that never ends is ended by its own alarm.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ImageFailed, ImageUnreachable
from cadnode.core.reasons import Reason
from cadnode.dicom.decoder import Order
from cadnode.dicom.files import ReadLimits

START_SECONDS = 60.0
"""Until the process has loaded the decoders, on a machine that has other things to do."""

_LONGEST_ANSWER = 1 << 16


class DecoderProcess:
    """Decodes frames in a process of its own, one at a time; usable from any thread."""

    def __init__(self, limits: ReadLimits, program: str = "cadnode.dicom.decoder") -> None:
        """`program` is the module to run."""
        self._limits = limits
        self._program = program
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._finalizer: weakref.finalize[[], DecoderProcess] | None = None

    def decode(self, codestream: bytes, order: Order) -> NDArray[np.uint16]:
        """The stored values as bit patterns, shape (rows, columns).

        Raises ImageFailed: DECODING_FAILED when the decoder refuses the codestream, DECODER_BROKE
        when it crashed or wanted more than `limits.decode_bytes`, DECODING_TOO_LONG after
        `limits.decode_seconds`. Raises ImageUnreachable when the process cannot be started.
        """
        with self._lock:
            try:
                return self._decoded(codestream, order)
            except _KilledFromOutside:
                # Not by us and not by the image: the kernel when memory is short, or a person.
                try:
                    return self._decoded(codestream, order)
                except _KilledFromOutside as error:
                    raise ImageFailed(Reason.DECODER_BROKE, "killed twice") from error

    def close(self) -> None:
        """End the process; it is started again when it is needed."""
        with self._lock:
            self._end()

    def _decoded(self, codestream: bytes, order: Order) -> NDArray[np.uint16]:
        child = self._running()
        child.order(codestream, order)
        try:
            answer = child.answer(self._limits.decode_seconds)
        except TimeoutError as error:
            self._end()
            seconds = f"{self._limits.decode_seconds:g} s"
            raise ImageFailed(Reason.DECODING_TOO_LONG, seconds) from error
        except EOFError as error:
            status = child.status()
            self._end()
            if status == -signal.SIGKILL:
                raise _KilledFromOutside from error
            raise ImageFailed(Reason.DECODER_BROKE, _cause(status)) from error
        if answer == {"error": MemoryError.__name__}:
            # What it had by then is not worth keeping.
            self._end()
            megabytes = self._limits.decode_bytes >> 20
            raise ImageFailed(Reason.DECODER_BROKE, f"it wanted more than {megabytes} MB")
        if "error" in answer:
            raise ImageFailed(Reason.DECODING_FAILED, answer["error"])
        return child.pixels(order)

    def _running(self) -> _Child:
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        self._end()
        try:
            child = _Child(self._limits, self._program)
        except OSError as error:
            raise ImageUnreachable(f"the decoder cannot be started: {error.strerror}") from error
        self._child = child
        self._finalizer = weakref.finalize(self, child.end)
        try:
            child.answer(START_SECONDS)
        except (TimeoutError, EOFError) as error:
            self._end()
            raise ImageUnreachable(
                "the decoder does not start; is [work] decode_memory_mb large enough?"
            ) from error
        return child

    def _end(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._child = self._finalizer = None


class _KilledFromOutside(Exception):
    """The process got a SIGKILL that we did not send."""


class _Child:
    """One life of the process and the two files shared with it."""

    def __init__(self, limits: ReadLimits, program: str) -> None:
        with _shared_file() as codestream, _shared_file() as pixels:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                [
                    sys.executable,
                    "-m",
                    program,
                    str(codestream.fileno()),
                    str(pixels.fileno()),
                    str(math.ceil(limits.decode_seconds)),
                    str(limits.decode_bytes),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(codestream.fileno(), pixels.fileno()),
                # Threads of a linear algebra library that it never calls would count as memory.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
            self._codestream = os.fdopen(os.dup(codestream.fileno()), "r+b", buffering=0)
            self._pixels = os.fdopen(os.dup(pixels.fileno()), "r+b", buffering=0)
        self._said = b""

    def order(self, codestream: bytes, order: Order) -> None:
        """Have one frame decoded. Raises nothing when the process is gone: `answer` tells."""
        _write(self._codestream, codestream)
        os.ftruncate(self._pixels.fileno(), 0)
        stdin = self.process.stdin
        assert stdin is not None  # noqa: S101
        try:
            stdin.write(order.as_line())
            stdin.flush()
        except BrokenPipeError:
            return

    def answer(self, seconds: float) -> dict[str, str]:
        """The next answer. Raises TimeoutError, and EOFError when the process has ended."""
        ends = time.monotonic() + seconds
        stdout = self.process.stdout
        assert stdout is not None  # noqa: S101
        ready = select.poll()
        ready.register(stdout, select.POLLIN)
        while b"\n" not in self._said:
            rest = ends - time.monotonic()
            if rest <= 0 or not ready.poll(rest * 1000):
                raise TimeoutError
            said = os.read(stdout.fileno(), 4096)
            if not said or len(self._said) > _LONGEST_ANSWER:
                raise EOFError
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        return _parsed(line)

    def pixels(self, order: Order) -> NDArray[np.uint16]:
        """A copy of what was decoded: the process keeps its file for the next frame."""
        # Read, not mapped: a process out of its senses could cut the file under the mapping.
        content = memoryview(bytearray(order.rows * order.columns * 2))
        at = 0
        while at < len(content):
            got = os.preadv(self._pixels.fileno(), [content[at:]], at)
            if not got:
                raise ImageFailed(Reason.DECODER_BROKE, "fewer pixels than it said")
            at += got
        values = np.frombuffer(content, dtype="<u2").reshape(order.rows, order.columns)
        return values.view(np.uint16)

    def status(self) -> int:
        """How the process ended; it is ended if it only closed its output."""
        try:
            return self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return 0

    def end(self) -> None:
        """End the process and give back everything."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None  # noqa: S101
            try:
                stream.close()
            except BrokenPipeError:
                continue
        self._codestream.close()
        self._pixels.close()


def _shared_file() -> BinaryIO:
    """A file without a name that another process can be given: in memory where there is such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cadnode-pixels"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _write(file: BinaryIO, content: bytes) -> None:
    os.ftruncate(file.fileno(), 0)
    rest, at = memoryview(content), 0
    while at < len(content):
        at += os.pwrite(file.fileno(), rest[at:], at)


def _parsed(line: bytes) -> dict[str, str]:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise EOFError from error
    return {str(key): str(value) for key, value in answer.items()} if answer else {}


def _cause(status: int) -> str:
    if status >= 0:
        return f"it ended with status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
