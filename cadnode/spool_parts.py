"""Where the files of the node lie, as its settings have it."""

from __future__ import annotations

import secrets
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cadnode.config import Settings
from cadnode.config.tables import StorageTable
from cadnode.core.errors import ConfigError, ImageUnreachable
from cadnode.storage.spool import Spool, try_folder

if TYPE_CHECKING:
    from cadnode.core.file_ports import NodeFiles
    from cadnode.storage.objects import Objects


def open_spool(settings: Settings, *, make: bool = True) -> NodeFiles:
    """The files; folders are made when missing, unless `make` is False.

    No object store is asked anything yet. Raises SpoolFull when a folder cannot be made,
    ConfigError when the secret cannot be read.
    """
    reserve = settings.retention.reserve_mb << 20
    table = settings.storage
    if table.url:
        from cadnode.storage.object_spool import ObjectSpool

        return ObjectSpool(
            open_objects(table),
            settings.node.data_dir,
            reserve_bytes=reserve,
            cache_bytes=table.cache_mb << 20,
            make=make,
        )
    # Receivers of several machines write into one folder: each clears up its own part of it.
    machine = socket.gethostname() if table.folder else ""
    return Spool(settings.files_dir, reserve_bytes=reserve, make=make, machine=machine)


def open_objects(table: StorageTable) -> Objects:
    """The object store that the settings name. Raises ConfigError."""
    if find_spec("s3fs") is None:
        raise ConfigError(
            "storage.url: objects need the extra packages of cadnode[s3], which are not installed"
        )
    from cadnode.storage.objects import ObjectAccess, Objects

    return Objects(
        ObjectAccess(
            url=table.url,
            endpoint_url=table.endpoint_url,
            region=table.region,
            access_key=table.access_key,
            secret_key=_secret_key(table),
            ca=table.ca,
            seconds=table.seconds,
        )
    )


def try_storage(settings: Settings) -> str:
    """Write, read and delete where the machines of the node share their files; what was done, in
    one sentence. Raises a CadnodeError that says what cannot be."""
    if settings.storage.url:
        return _try_objects(open_objects(settings.storage))
    return try_folder(settings.files_dir)


def _try_objects(objects: Objects) -> str:
    key, content = f"check/{secrets.token_hex(8)}", secrets.token_bytes(1024)
    with tempfile.TemporaryDirectory(prefix="cadnode-") as scratch:
        copy = Path(scratch) / "copy"
        objects.put_bytes(content, key)
        try:
            if not objects.get(key, copy) or copy.read_bytes() != content:
                raise ImageUnreachable(f"{objects.name}: what was written is not read back")
        finally:
            objects.remove(key)
    return f"{objects.name}: an object was written, read and deleted"


def _secret_key(table: StorageTable) -> str:
    if table.secret_key_file is None:
        return table.secret_key.get_secret_value()
    try:
        return table.secret_key_file.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"storage.secret_key_file: {table.secret_key_file} cannot be read"
        ) from error
