"""Node and archive as compose.yaml sets them up, in a network namespace in place of its network.

Started by the test as root, inside namespaces of its own: the ports are those of the files in
docker/, the root of the node cannot be written to, and its user may do nothing else. What came of
it is printed as JSON.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.container.debian import environment
from tests.peers import running

DOCKER = Path(__file__).resolve().parents[2] / "docker"
READY_SECONDS = 180.0
RESULT_SECONDS = 300.0


def main(root: Path, work: Path, images: Sequence[Path]) -> None:
    """Run the pair over the installed Debian in `root`, send `images` to it, print what came."""
    said: dict[str, Any] = {}
    _network(root, work)
    _lock_root(root, work / "data")
    with running(["Orthanc", str(_orthanc(work))], 8042, work / "orthanc.log"):
        with (work / "node.log").open("wb") as log:
            node = subprocess.Popen(
                _in_container(root, _line("CMD")), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            health = _in_container(root, _line("HEALTHCHECK"))
            said["healthy"] = _comes(READY_SECONDS, lambda: _status(health) == 0)
            said["stored"] = _status(
                ["storescu", "-xs", "-aet", "MODALITY", "-aec", "CADNODE", "127.0.0.1", "11112"]
                + [str(path) for path in images]
            )
            said["delivered"] = _comes(RESULT_SECONDS, _sop_classes)
            said["sop_classes"] = _sop_classes()
            said["console"] = urllib.request.urlopen("http://127.0.0.1:8080/healthz").status
            said["jobs"] = json.loads(_output(root, "cadnode", "jobs", "list", "--json"))
            said["root_is_writable"] = _status(_in_container(root, ["touch", "/etc/x"])) == 0
            said["user"] = _output(root, "id", "-u").strip()
            said["capabilities"] = _output(root, "grep", "CapEff", "/proc/self/status").split()[1]
        finally:
            started = time.monotonic()
            node.send_signal(signal.SIGTERM)
            said["exit"] = node.wait(30)
            said["stopped_in"] = time.monotonic() - started
    said["log"] = (work / "node.log").read_text()[-4000:]
    sys.stdout.write(json.dumps(said))


def _network(root: Path, work: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    names = "127.0.0.1 localhost node archive\n"
    (root / "etc/hosts").write_text(names)
    hosts = work / "hosts"
    hosts.write_text(names)
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def _lock_root(root: Path, data: Path) -> None:
    """`read_only`, `tmpfs` and `volumes` of compose.yaml."""
    data.mkdir()
    settings = root / "etc/cadnode/cadnode.toml"
    settings.write_bytes((DOCKER / "cadnode.toml").read_bytes())
    mounts: list[list[str]] = [
        ["--bind", str(root), str(root)],
        ["-o", "remount,bind,ro", str(root)],
        ["-t", "proc", "proc", f"{root}/proc"],
        ["--bind", "/dev", f"{root}/dev"],
        ["-t", "tmpfs", "tmpfs", str(root / "tmp")],
        ["--bind", str(data), f"{root}/var/lib/cadnode"],
    ]
    for arguments in mounts:
        subprocess.run(["mount", *arguments], check=True)
    # As a named volume begins: with the owner of the folder in the image.
    subprocess.run(["chown", "10001:10001", str(data)], check=True)


def _orthanc(work: Path) -> Path:
    """The archive's own settings, and a place for its files that ends with the test."""
    folder = work / "orthanc"
    folder.mkdir()
    (folder / "orthanc.json").write_bytes((DOCKER / "orthanc.json").read_bytes())
    place = {"StorageDirectory": str(work / "db"), "IndexDirectory": str(work / "db")}
    (folder / "place.json").write_text(json.dumps(place))
    return folder


def _line(instruction: str) -> list[str]:
    """What `instruction` of the Dockerfile runs."""
    text = (DOCKER / "Dockerfile").read_text()
    pattern = r"^HEALTHCHECK [^\[]*(\[.*?\])" if instruction == "HEALTHCHECK" else r"^CMD (\[.*\])"
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def _in_container(root: Path, command: Sequence[str]) -> list[str]:
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    variables = dict(word.split("=", 1) for line in lines for word in line.split())
    user = re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert user is not None
    privileges = [f"--reuid={user[1]}", f"--regid={user[2]}", "--clear-groups"]
    limits = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    inside = ["setpriv", *privileges, *limits, *environment(variables), *command]
    return ["chroot", str(root), "sh", "-c", 'cd /var/lib/cadnode && exec "$@"', "sh", *inside]


def _output(root: Path, *command: str) -> str:
    done = subprocess.run(
        _in_container(root, command), check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


def _status(command: Sequence[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode


def _sop_classes() -> list[str]:
    """Of the reports in the archive."""
    with urllib.request.urlopen("http://127.0.0.1:8042/instances") as answer:
        instances = json.load(answer)
    found = []
    for instance in instances:
        url = f"http://127.0.0.1:8042/instances/{instance}/metadata/SopClassUid"
        with urllib.request.urlopen(url) as answer:
            found.append(answer.read().decode())
    return sorted(found)


def _comes(seconds: float, holds: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.5)
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
