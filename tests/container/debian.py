"""A bare Debian in a folder, as the base image is, and programs run with that folder as root."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SUITE = "bookworm"
"""As in the FROM lines of docker/Dockerfile."""

_CA = "/root/ca-of-the-host.crt"
_CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def make_root(debootstrap: str, root: Path) -> None:
    """Debian's smallest set of packages under `root`, with this machine's way to packages."""
    subprocess.run(
        [debootstrap, "--variant=minbase", SUITE, str(root)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=1200,
    )
    # A proxy, a mirror or a CA of the site belongs to the machine, not to the image.
    for settings in (Path("/etc/resolv.conf"), Path("/etc/pip.conf")):
        if settings.exists():
            shutil.copy(settings, root / "etc")
    for folder in ("apt.conf.d", "sources.list.d"):
        for file in Path("/etc/apt", folder).glob("[!.]*"):
            if file.suffix != ".list" and not file.name.startswith("docker"):
                shutil.copy(file, root / "etc/apt" / folder)
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if bundle and Path(bundle).exists():
        shutil.copy(bundle, root / _CA.removeprefix("/"))


def run_in(root: Path, folder: str, *command: str) -> None:
    """Run `command` in `folder` with `root` as its root, as root. Raises CalledProcessError."""
    environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    if (root / _CA.removeprefix("/")).exists():
        environ |= dict.fromkeys(_CA_VARIABLES, _CA)
    environ |= {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") and name not in _CA_VARIABLES
    }
    inside = ["chroot", str(root), "sh", "-c", f'cd {folder} && exec "$@"', "sh", *command]
    subprocess.run([*own_mounts(root), *inside], check=True, env=environ, timeout=1800)


def own_mounts(root: Path) -> list[str]:
    """The start of a command whose mounts end with it: /proc, /dev and local packages of ours."""
    binds = ["/dev", *_local_packages()]
    script = " && ".join(
        f"mkdir -p {root}{path} && mount --bind {path} {root}{path}" for path in binds
    )
    return [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        f"--mount-proc={root}/proc",
        "sh",
        "-c",
        f'{script} && exec "$@"',
        "sh",
    ]


def _local_packages() -> Sequence[str]:
    """Folders that this machine's pip takes packages from, beside the index."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    named = [Path(word) for word in said.replace("'", " ").replace("file://", "").split()]
    folders = {path.parent if path.name == "simple" else path for path in named if path.is_dir()}
    return sorted(str(folder) for folder in folders if folder.is_absolute())


def environment(lines: Mapping[str, str]) -> list[str]:
    """The start of a command with these variables and no others."""
    return ["env", "-i", *(f"{name}={value}" for name, value in lines.items())]
