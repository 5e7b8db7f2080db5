"""A node that fetches, without its processes, beside an archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from typer.testing import CliRunner, Result

from cadnode.app import App
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.dimse.scu import Destination
from cadnode.store import Store
from tests.integration.fake_archive import FakeArchive, running_archive
from tests.objects import mammogram
from tests.peers import free_port

STUDY, OTHER_STUDY = generate_uid(None), generate_uid(None)


@dataclass
class Site:
    """A node with one source, and its archive."""

    config: Path
    app: App
    store: Store
    archive: Destination
    name: tuple[str, str] = ("", "")

    def fetch(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["fetch", *arguments, "--config", str(self.config)])

    def fetched(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """What `--json` says of a fetch that ends with `status`."""
        result = self.fetch(*arguments, "--json")
        assert result.exit_code == status, result.output
        content: dict[str, Any] = json.loads(result.stdout)
        return content

    def kept(self) -> dict[str, Path]:
        """By SOP Instance UID: the images that the database knows, as files."""
        spool = self.app.spool()
        return {
            image.sop_instance_uid: spool.path_of(image.path)
            for exam in self.store.records.list_exams()
            for image in self.store.records.exam_detail(exam.id).images
        }

    def events(self) -> list[str]:
        return [
            event.text
            for exam in self.store.records.list_exams()
            for event in self.store.records.exam_detail(exam.id).events
        ]


@contextmanager
def site(
    folder: Path,
    archive: Destination,
    port: int,
    retrieve: str,
    more: str = "",
    *,
    always_listens: bool = False,
) -> Iterator[Site]:
    """The node's settings and store; its receiver runs when images come by C-MOVE."""
    config = folder / "cadnode.toml"
    config.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\n'
        f'[retention]\nreserve_mb = 1\n[[sources]]\nname = "archive"\n'
        f'ae_title = "{archive.ae_title}"\nhost = "127.0.0.1"\nport = {archive.port}\n'
        f'retrieve = "{retrieve}"\n{more}'
    )
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    scp = app.storage_scp(store.exams, app.spool())
    if retrieve == "move" or always_listens:
        scp.start()
    try:
        yield Site(config, app, store, archive)
    finally:
        scp.stop()
        store.close()


@dataclass
class Misbehaving:
    """A node beside an archive that misbehaves."""

    site: Site
    archive: FakeArchive

    def reasons(self) -> set[str]:
        """Why images of the exam were not fetched."""
        (study,) = self.site.fetched("--study", STUDY, status=3)["studies"]
        return set(study["failed"].values())


@contextmanager
def beside(
    folder: Path, archive: FakeArchive, retrieve: str = "get", more: str = ""
) -> Iterator[Misbehaving]:
    """A node whose source is `archive`."""
    archive.our_port = free_port()
    with (
        running_archive(archive) as destination,
        site(folder, destination, archive.our_port, retrieve, more) as node,
    ):
        yield Misbehaving(node, archive)


def exam(images: int = 3) -> list[Dataset]:
    return [
        mammogram(study_uid=STUDY, instance_number=n, rows=16, columns=16) for n in range(images)
    ]
