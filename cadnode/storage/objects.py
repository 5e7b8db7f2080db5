"""The objects of one prefix in an S3-compatible store, through fsspec.

Every call ends within its time, in an answer or in an error that says in our words why not.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cadnode.core.errors import ImageUnreachable

PUTS_AT_ONCE = 8
"""An object is in memory while it is sent, one of more than two parts in two of them."""
PART = 16 << 20
SLOWEST = 4 << 20
"""Bytes in a second; a store that takes or gives less is in trouble."""
LARGEST = 4 << 30
"""Bytes of an object, where the store does not say how many they are."""
PIECE = 1 << 18
"""Bytes of an object that is fetched, in memory at once."""
CONNECTIONS = 64
CONNECT_SECONDS = 3.0
"""A store that is there answers within; a sender waits meanwhile."""


@dataclass(frozen=True, slots=True)
class ObjectAccess:
    """Where the objects are and who asks for them."""

    url: str
    """As s3://bucket/prefix; the prefix may be empty."""
    endpoint_url: str = ""
    """Empty: that of Amazon."""
    region: str = ""
    access_key: str = ""
    """Empty: as the environment or the machine's role has it."""
    secret_key: str = field(default="", repr=False)
    ca: Path | None = None
    """Whom to trust behind an https:// endpoint, in place of the system's authorities."""
    seconds: float = 30.0
    """For a request, retries included; an object gets a second more for each `SLOWEST` bytes, and
    one that is put may wait as long for its turn."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    """Below the prefix."""
    size: int
    modified_at: datetime


class Objects:
    """The objects below one prefix; for any number of threads.

    Every method raises ImageUnreachable when the store does not answer or refuses, or has no such
    bucket; nothing is asked of it before the first one is called.
    """

    def __init__(self, access: ObjectAccess) -> None:
        self._access = access
        self._root = access.url.removeprefix("s3://").rstrip("/")
        self._puts = threading.BoundedSemaphore(PUTS_AT_ONCE)
        self._opening = threading.Lock()
        self._opened: Any = None

    @property
    def name(self) -> str:
        """Where the objects are, for persons."""
        host = urlsplit(self._access.endpoint_url).netloc
        return f"s3://{self._root}" + (f" at {host}" if host else "")

    def put(self, file: Path, key: str) -> None:
        """The content of `file` as an object; all of it or nothing is there."""
        with self._turn(), self._translated():
            size = file.stat().st_size
            self._call("put_file", str(file), self._path(key), size=size, chunksize=PART)

    def put_bytes(self, content: bytes, key: str) -> None:
        """`content` as an object; all of it or nothing is there."""
        with self._turn(), self._translated():
            path = self._path(key)
            self._call("pipe_file", path, content, size=len(content), chunksize=PART)

    def get(self, key: str, file: Path) -> bool:
        """The object as a file; False when there is none of this name."""
        with self._translated():
            try:
                self._fetch(key, file)
            except FileNotFoundError:
                return self._gone(key)
        return True

    def size(self, key: str) -> int | None:
        """Bytes of the object; None when there is none of this name."""
        # The listing, not HEAD: some stores answer HEAD for what is missing in broken HTTP.
        bucket, _, path = self._path(key).partition("/")
        with self._translated():
            found = self._s3("list_objects_v2", Bucket=bucket, Prefix=path, MaxKeys=1)
        sizes = {entry["Key"]: int(entry["Size"]) for entry in found.get("Contents", ())}
        return sizes.get(path)

    def copy(self, source: str, target: str) -> None:
        """The object once more under another name, within the store."""
        with self._translated():
            self._call("cp_file", self._path(source), self._path(target))

    def remove(self, key: str) -> None:
        """Delete the object if it is there."""
        with self._translated():
            try:
                self._call("rm_file", self._path(key))
            except FileNotFoundError:
                self._gone(key)

    def list(self, folder: str) -> Iterator[StoredObject]:
        """Every object whose key begins with `folder` and a slash, by key."""
        bucket, _, prefix = self._path(f"{folder}/").partition("/")
        place: dict[str, str] = {}
        while True:
            with self._translated():
                page = self._s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **place)
            for entry in page.get("Contents", ()):
                key = f"{bucket}/{entry['Key']}".removeprefix(f"{self._root}/")
                yield StoredObject(key, int(entry["Size"]), entry["LastModified"])
            if not page.get("IsTruncated"):
                return
            place = {"ContinuationToken": page["NextContinuationToken"]}

    def _gone(self, key: str) -> bool:
        """False when the store knows its bucket and has no such object there: what is said to be
        gone is given up for good, so a wrong bucket must not look like it."""
        if self.size(key) is not None:
            raise ImageUnreachable(f"{self.name}: an object is listed that is not handed out")
        return False

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @property
    def _files(self) -> Any:
        with self._opening:
            if self._opened is None:
                self._opened = _open(self._access)
            return self._opened

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One of a few puts at once. Whoever waits for a store that hangs waits no longer for the
        others than for the store."""
        if not self._puts.acquire(timeout=self._access.seconds):
            raise ImageUnreachable(f"{self.name}: too many objects wait for the store")
        try:
            yield
        finally:
            self._puts.release()

    def _fetch(self, key: str, file: Path) -> None:
        from fsspec.asyn import sync

        # Not `get_file`: how long it may take is known when the store has said how much there is.
        bucket, _, path = self._path(key).partition("/")
        sync(self._files.loop, _download, self._files, bucket, path, file, self._access.seconds)

    def _call(self, method: str, *arguments: object, size: int = 0, **named: object) -> Any:
        call: Callable[..., Any] = getattr(self._files, method)
        return call(*arguments, **named, timeout=self._access.seconds + size / SLOWEST)

    def _s3(self, method: str, **named: object) -> Any:
        return self._files.call_s3(method, **named, timeout=self._access.seconds)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise ImageUnreachable(f"{self.name}: there is no such bucket") from error
        except _errors() as error:
            raise ImageUnreachable(f"{self.name}: {_said(error)}") from error


async def _download(files: Any, bucket: str, key: str, file: Path, seconds: float) -> None:
    """The object as a file, or TimeoutError."""
    answer = await asyncio.wait_for(
        files._call_s3("get_object", Bucket=bucket, Key=key),
        seconds,
    )
    body = answer["Body"]
    try:
        async with asyncio.timeout(seconds + answer.get("ContentLength", LARGEST) / SLOWEST):
            with file.open("wb") as stream:
                while piece := await body.read(PIECE):
                    stream.write(piece)
    finally:
        body.close()


def _open(access: ObjectAccess) -> Any:
    import fsspec

    client: dict[str, object] = {}
    if access.region:
        client["region_name"] = access.region
    if access.ca is not None:
        client["verify"] = str(access.ca)
    files = fsspec.filesystem(
        "s3",
        key=access.access_key or None,
        secret=access.secret_key or None,
        endpoint_url=access.endpoint_url or None,
        client_kwargs=client,
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": access.seconds,
            "retries": {"mode": "standard", "total_max_attempts": 3},
            "max_pool_connections": CONNECTIONS,
            # Signature or TLS guard the bytes already, and stores that are only compatible do not
            # understand the checksums behind them.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        max_concurrency=2,
        # What another machine has written or deleted is to be seen at once.
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    # Beside botocore's own, for what a server that breaks HTTP leaves on a connection.
    files.retries = 2
    return files


def _errors() -> tuple[type[Exception], ...]:
    """What the libraries under fsspec are known to raise when a store is in trouble."""
    from aiohttp import ClientError as HttpError
    from botocore.exceptions import BotoCoreError, ClientError

    return (OSError, asyncio.TimeoutError, BotoCoreError, ClientError, HttpError)


def _said(error: BaseException) -> str:
    """The kind of trouble; never the request, which says who asked."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return f"the store refused ({response['Error'].get('Code', 'without a reason')})"
        cause = cause.__cause__
    if isinstance(error, asyncio.TimeoutError):
        return "the store took too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"the store does not answer ({type(error).__name__})"
