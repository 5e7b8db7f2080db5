"""Hostile peers against the real receiver, and what a good sender notices of them.

`python -m tests.node.hostile --seconds 20` prints the table of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.certificates import SiteCa
from tests.integration import pdus
from tests.integration.modality import FOR_PRESENTATION, IMPLICIT, Modality, element, image
from tests.peers import free_port, running

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT, PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
GOOD, EVIL = "GOOD", "EVIL"
MAX_OBJECT_MB = 64
MEMORY_LIMIT_MB = 500
PIECE = 100_000


@dataclass(frozen=True)
class Target:
    """A running receiver: its ports and its process."""

    port: int
    tls_port: int
    pid: int
    folder: Path

    def peak_mb(self) -> float:
        """The most memory it has had since `forget_peak`, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def forget_peak(self) -> None:
        """Measure the peak from now on (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def incoming_mb(self) -> float:
        """What lies in the incoming folder."""
        sizes = [_size(path) for path in (self.folder / "data" / "incoming").iterdir()]
        return sum(sizes) / 1e6


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass
class Attack:
    """What one kind of hostile peers does until `over`; it counts what it has thrown."""

    target: Target
    over: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, port: int | None = None) -> Modality:
        """One more connection."""
        with self._lock:
            self.connections += 1
        return Modality(port or self.target.port, calling=EVIL)

    def send(self, modality: Modality, words: bytes) -> bool:
        """False when the receiver has cut the connection."""
        try:
            modality.connection.sendall(words)
        except OSError:
            return False
        with self._lock:
            self.sent += len(words)
        return True

    def again(self, speak: Callable[[Modality], None]) -> None:
        """A new connection for each `speak`, until it is over."""
        while not self.over.is_set():
            with contextlib.suppress(OSError), self.connect() as modality:
                modality.connection.settimeout(5)
                speak(modality)

    def hold(self, count: int, words: Callable[[int], bytes], port: int | None = None) -> None:
        """So many connections, each with its first words, kept open until it is over."""
        with contextlib.ExitStack() as open_ones:
            for number in range(count):
                with contextlib.suppress(OSError):
                    modality = open_ones.enter_context(self.connect(port))
                    self.send(modality, words(number))
            self.over.wait()


def _associated(modality: Modality) -> None:
    modality.associate([(FOR_PRESENTATION, IMPLICIT), (VERIFICATION, IMPLICIT)])


def _request() -> bytes:
    return pdus.associate_rq("CADNODE", EVIL, [(FOR_PRESENTATION, IMPLICIT)])


def _store_command(context_id: int = 1) -> bytes:
    command = pdus.c_store_rq(FOR_PRESENTATION, "1.2.3.6")
    return pdus.fragment(context_id, command, command=True, last=True)


def bad_pdus(attack: Attack) -> None:
    """Noise, unknown types, PDUs out of order, requests with broken items."""
    chance = random.Random(4)  # noqa: S311
    whole = _request()

    def words() -> bytes:
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        return chance.choice(
            [
                bytes(broken),
                pdus.pdu(chance.randrange(256), chance.randbytes(200)),
                chance.randbytes(300),
                pdus.associate_ac(whole[6:]),
                pdus.release_rp() + pdus.abort(),
            ]
        )

    def speak(modality: Modality) -> None:
        if chance.random() < 0.5:
            _associated(modality)
        attack.send(modality, words())
        modality.connection.settimeout(0.2)
        modality.connection.recv(100)

    attack.again(speak)


def absurd_lengths(attack: Attack) -> None:
    """PDUs of 4 GB, fragments longer than their PDU, commands and requests without end."""
    endless_items = pdus.item(0x20, bytes([1, 0, 0, 0]) + pdus.item(0x30, b"1.2")) * 60_000
    choices = itertools.cycle(
        [
            (False, struct.pack(">BBI", pdus.ASSOCIATE_RQ, 0, 0xFFFFFFFF)),
            (True, struct.pack(">BBI", pdus.P_DATA, 0, 0xFFFFFFFF)),
            (True, pdus.pdu(pdus.P_DATA, struct.pack(">I", 0xFFFFFFFF) + b"\x01\x03" + bytes(500))),
            (True, pdus.pdu(pdus.P_DATA, struct.pack(">I", 0) * 1000)),
            (True, pdus.fragment(1, bytes(100_000), command=True, last=False)),
            (
                False,
                pdus.pdu(pdus.ASSOCIATE_RQ, _request()[6:74] + endless_items[: (1 << 20) - 68]),
            ),
            (
                True,
                pdus.fragment(1, struct.pack("<HHI", 0, 0, 0xFFFFFFFF), command=True, last=True),
            ),
        ]
    )

    def speak(modality: Modality) -> None:
        associated, words = next(choices)
        if associated:
            _associated(modality)
        for _ in range(50):
            if not attack.send(modality, words):
                return

    attack.again(speak)


def half_open(attack: Attack) -> None:
    """Associations that stop in mid-object and never say anything again."""
    half = _request() + _store_command() + pdus.fragment(1, bytes(5000), command=False, last=False)
    attack.hold(300, lambda number: half[: len(half) - number % 200])


def slow_senders(attack: Attack) -> None:
    """Requests and objects that come byte by byte."""
    words = _request() + _store_command() + pdus.fragment(1, bytes(9000), command=False, last=False)
    whole_request = len(_request())
    with contextlib.ExitStack() as open_ones:
        slow = [open_ones.enter_context(attack.connect()) for _ in range(100)]
        for modality in slow[:50]:
            attack.send(modality, words[:whole_request])
        at = [whole_request] * 50 + [0] * 50
        while not attack.over.wait(0.05):
            for number, modality in enumerate(slow):
                attack.send(modality, words[at[number] : at[number] + 1])
                at[number] += 1


def five_hundred_connections(attack: Attack) -> None:
    """500 at once: silent, or with the beginning of a request."""
    words = _request()
    attack.hold(500, lambda number: words[: number % 80])


def silent_handshakes(attack: Attack) -> None:
    """300 connections to the TLS port: silent, or with the beginning of a handshake."""
    attack.hold(
        300, lambda number: b"\x16\x03\x01\x02\x00\x01"[: number % 7], attack.target.tls_port
    )


def changed_contexts(attack: Attack) -> None:
    """Messages over contexts that were refused, never proposed, or change in mid-object."""
    other = "1.2.840.10008.5.1.4.1.1.2"
    piece = bytes(2000)
    choices = itertools.cycle(
        [
            _store_command(context_id=99),
            _store_command(context_id=3),
            _store_command(context_id=5),
            _store_command() + pdus.fragment(3, piece, command=False, last=False),
            _store_command() + pdus.fragment(99, piece, command=False, last=True),
            _store_command() + _store_command(context_id=3),
            _request(),
            _store_command() + _request(),
        ]
    )

    def speak(modality: Modality) -> None:
        modality.associate(
            [(FOR_PRESENTATION, IMPLICIT), (other, IMPLICIT), (VERIFICATION, IMPLICIT)]
        )
        attack.send(modality, next(choices))
        modality.connection.settimeout(0.3)
        modality.seconds_until_closed()

    attack.again(speak)


def endless_objects(attack: Attack) -> None:
    """Objects without end, from four senders at once."""
    piece = pdus.fragment(1, bytes(PIECE), command=False, last=False)

    def speak(modality: Modality) -> None:
        _associated(modality)
        attack.send(modality, _store_command())
        while not attack.over.is_set() and attack.send(modality, piece):
            pass

    others = [threading.Thread(target=attack.again, args=(speak,)) for _ in range(3)]
    for thread in others:
        thread.start()
    attack.again(speak)
    for thread in others:
        thread.join()


def impatient_senders(attack: Attack) -> None:
    """Requests by the thousand without waiting for an answer, and without reading one."""
    data_set = image("1.2.3.6", size=10)
    one = _store_command() + pdus.fragment(1, data_set, command=False, last=True)
    echo = pdus.command(
        (0x0002, VERIFICATION), (0x0100, pdus.C_ECHO_RQ), (0x0110, 1), (0x0800, pdus.NO_DATA_SET)
    )
    choices = itertools.cycle([one * 20, pdus.fragment(3, echo, command=True, last=True) * 50])

    def speak(modality: Modality) -> None:
        _associated(modality)
        words = next(choices)
        while not attack.over.is_set() and attack.send(modality, words):
            pass

    attack.again(speak)


def impatient_committers(attack: Attack) -> None:
    """Storage commitment asked for without waiting: for the most objects that fit, and for more
    empty items than are parsed."""
    command = pdus.command(
        (0x0003, STORAGE_COMMITMENT),
        (0x0100, pdus.N_ACTION_RQ),
        (0x0110, 1),
        (0x0800, pdus.HAS_DATA_SET),
        (0x1001, PUSH_MODEL_INSTANCE),
        (0x1008, 1),
    )
    objects = element(0x00081150, FOR_PRESENTATION.encode()) + element(0x00081155, b"1.2.3.8")
    many = [_items(objects, 1_000_000), _items(b"", 1_000_000)]
    # Made before the threads share it: a generator cannot be asked by two at once.
    choices = itertools.cycle(
        [
            pdus.fragment(1, command, command=True, last=True)
            + b"".join(_in_pieces(element(0x00081195, b"1.2.3") + element(0x00081199, content)))
            for content in many
        ]
    )

    def speak(modality: Modality) -> None:
        modality.associate([(STORAGE_COMMITMENT, IMPLICIT)])
        words = next(choices)
        while not attack.over.is_set() and attack.send(modality, words):
            pass

    threads = [threading.Thread(target=attack.again, args=(speak,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _items(content: bytes, size: int) -> bytes:
    """About `size` bytes of items."""
    one = struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
    return one * (size // len(one))


def _in_pieces(data_set: bytes) -> Iterator[bytes]:
    for at in range(0, len(data_set), PIECE):
        last = at + PIECE >= len(data_set)
        yield pdus.fragment(1, data_set[at : at + PIECE], command=False, last=last)


ATTACKS: dict[str, Callable[[Attack], None]] = {
    "bad PDUs": bad_pdus,
    "absurd lengths": absurd_lengths,
    "half-open connections": half_open,
    "slow senders": slow_senders,
    "500 connections": five_hundred_connections,
    "silent TLS handshakes": silent_handshakes,
    "contexts changed after negotiation": changed_contexts,
    "never-ending objects": endless_objects,
    "requests without waiting": impatient_senders,
    "commitments without waiting": impatient_committers,
}


@dataclass(frozen=True)
class Outcome:
    """What a good sender and the process noticed of one attack."""

    attack: str
    connections: int
    sent_mb: float
    stored: int
    not_stored: int
    echoes: int
    slowest: float
    """Seconds, of one association with one image and one C-ECHO."""
    peak_mb: float
    incoming_mb: float

    def row(self) -> str:
        """For the table in docs/reliability.md."""
        return (
            f"| {self.attack} | {self.connections} | {self.sent_mb:.0f} | {self.stored} |"
            f" {self.not_stored} | {self.slowest:.1f} | {self.peak_mb:.0f} |"
        )


def withstand(target: Target, name: str, seconds: float) -> Outcome:
    """Run one attack for so long while a good sender stores and echoes."""
    target.forget_peak()
    attack = Attack(target)
    thread = threading.Thread(target=ATTACKS[name], args=(attack,), daemon=True)
    thread.start()
    stored = not_stored = echoes = 0
    slowest = incoming = 0.0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or not stored:
        begun = time.monotonic()
        well, answered = _one_image(target)
        stored, not_stored, echoes = stored + well, not_stored + (not well), echoes + answered
        slowest = max(slowest, time.monotonic() - begun)
        incoming = max(incoming, target.incoming_mb())
        if not_stored > 20:
            break
        time.sleep(0.05)
    attack.over.set()
    thread.join(60)
    return Outcome(
        attack=name,
        connections=attack.connections,
        sent_mb=attack.sent / 1e6,
        stored=stored,
        not_stored=not_stored,
        echoes=echoes,
        slowest=slowest,
        peak_mb=target.peak_mb(),
        incoming_mb=incoming,
    )


_numbers = itertools.count(1)


def _one_image(target: Target) -> tuple[bool, bool]:
    """Whether one image was stored, and whether C-ECHO was answered."""
    number = next(_numbers)
    uid = f"1.2.3.7.{number}"
    try:
        with Modality(target.port, calling=GOOD) as modality:
            modality.associate([(FOR_PRESENTATION, IMPLICIT)])
            data_set = image(uid, study=f"1.2.3.{number}", size=200_000)
            well = modality.store(uid, data_set)[0] == 0x0000
            modality.release()
        with Modality(target.port, calling=GOOD) as modality:
            modality.associate([(VERIFICATION, IMPLICIT)])
            return well, modality.echo() == 0x0000
    except (TimeoutError, OSError, ValueError):
        return False, False


@contextlib.contextmanager
def receiver_process(folder: Path) -> Iterator[Target]:
    """`cadnode receive` as a process of its own, which knows a good sender and an evil one."""
    files = SiteCa(folder / "ca").issue("node")
    port, tls_port = free_port(), free_port()
    config = folder / "cadnode.toml"
    config.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\n'
        f'[tls]\nlisten = true\nport = {tls_port}\ncertificate = "{files.certificate}"\n'
        f'key = "{files.key}"\nca = "{files.ca}"\n'
        f"[limits]\nmax_object_mb = {MAX_OBJECT_MB}\n[retention]\nreserve_mb = 1\n"
        f'[[peers]]\nname = "good"\nae_title = "{GOOD}"\n'
        f'[[peers]]\nname = "evil"\nae_title = "{EVIL}"\n'
    )
    command: Sequence[str | Path] = [sys.executable, "-m", "cadnode", "receive", "--config", config]
    with running(command, port, folder / "receive.log") as process:
        assert isinstance(process, subprocess.Popen)
        yield Target(port, tls_port, process.pid, folder)


def main() -> None:
    """Print one line for each attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each attack")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, receiver_process(Path(folder)) as target:
        for name in ATTACKS:
            sys.stdout.write(withstand(target, name, seconds).row() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
