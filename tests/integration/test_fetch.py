"""`cadnode fetch` from real archives, by C-GET and by C-MOVE."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import JPEGLosslessSV1, generate_uid
from typer.testing import CliRunner, Result

from cadnode.app import App, Store
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.dimse.archive import Archive
from cadnode.dimse.scu import Destination
from tests.integration.archives import ARCHIVES, fill
from tests.objects import four_views, mammogram, secondary_capture
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
    folder: Path, archive: Destination, port: int, retrieve: str, more: str = ""
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
    if retrieve == "move":
        scp.start()
    try:
        yield Site(config, app, store, archive)
    finally:
        scp.stop()
        store.close()


@pytest.fixture(params=[(name, how) for name in ARCHIVES for how in ("get", "move")], ids=str)
def at_archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A node beside a real archive."""
    name, retrieve = request.param
    port = free_port()
    with (
        ARCHIVES[name](tmp_path / "archive", port) as archive,
        site(tmp_path, archive, port, retrieve) as found,
    ):
        found.name = name, retrieve
        yield found


@pytest.mark.peers
def test_an_exam_is_fetched_once_and_without_what_is_no_mammogram(
    at_archive: Site, tmp_path: Path
) -> None:
    exam = four_views(study_uid=STUDY, series_uid=generate_uid(None))
    if at_archive.name != ("dcmqrscp", "move"):
        # By C-MOVE dcmqrscp sends in one syntax, whatever it holds.
        exam[0] = mammogram(study_uid=STUDY, transfer_syntax_uid=JPEGLosslessSV1)
    printed = secondary_capture(study_uid=STUDY, modality="OT")
    other = mammogram(study_uid=OTHER_STUDY)
    fill(at_archive.archive, [*exam, printed, other], tmp_path / "files")

    listed = at_archive.fetched("--study", STUDY, "--dry-run")
    assert at_archive.kept() == {}
    first = at_archive.fetched("--study", STUDY)
    second = at_archive.fetched("--study", STUDY)
    again = at_archive.fetched("--study", STUDY, "--again")

    assert set(listed["studies"][0]["wanted"]) == {str(image.SOPInstanceUID) for image in exam}
    assert [s["studies"][0]["fetched"] for s in (first, second, again)] == [4, 0, 4]
    kept = at_archive.kept()
    assert set(kept) == {str(image.SOPInstanceUID) for image in exam}
    for image in exam:
        stored = dcmread(kept[str(image.SOPInstanceUID)])
        assert (stored.pixel_array == image.pixel_array).all()
    assert at_archive.events().count("4 images were fetched from archive.") == 1
