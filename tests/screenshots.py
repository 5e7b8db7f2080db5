"""`python -m tests.screenshots`: the pictures of the console in docs/images/console.

The node and the archive of the demo with its two real exams, and a few made-up ones so that no list
is empty: one set aside, one refused by a second destination, which then is switched off, and one
still on its way. Every score that can be seen was computed.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from cadnode.core.ports import OutgoingObject
from cadnode.demo.archive_choice import running_archive
from cadnode.demo.exams import rebuild_exams
from cadnode.demo.node_process import (
    MODALITY_AE_TITLE,
    NODE_AE_TITLE,
    running_node,
    write_settings,
)
from cadnode.demo.running import free_port
from cadnode.dimse.scu import Destination, DicomSender
from tests.chromium import chromium
from tests.objects import four_views, tomosynthesis, write

OUT = Path(__file__).parents[1] / "docs" / "images" / "console"
NAME, WORD = "operator-1", "correct horse battery"
WITHIN = 600.0
LARGEST = 150_000
"""Bytes of a picture: they are part of every checkout."""

_SECOND_DESTINATION = """
[[destinations]]
name = "reading-room"
ae_title = "READING"
host = "127.0.0.1"
port = {port}
commitment = "off"

[exam]
quiet_seconds = 90.0
"""
_RESULTS = (
    "1.2.840.10008.5.1.4.1.1.88.50",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.88.33",
)
_NOT_UNDERSTOOD = 0xC000


@dataclass(frozen=True)
class Console:
    """The console of the node, and how its own commands are called."""

    address: str
    settings: Path

    def cadnode(self, *arguments: str, typed: str = "") -> str:
        """What a command prints."""
        command = [sys.executable, "-m", "cadnode", *arguments, "--config", str(self.settings)]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout

    def wait_for(self, statuses: Mapping[str, int]) -> None:
        """Come back when so many exams stand where they should."""
        deadline = time.monotonic() + WITHIN
        while True:
            exams = json.loads(self.cadnode("jobs", "list", "--json"))
            # An archive that commits to what it was given says so soon after.
            found = [exam["status"].replace("committed", "delivered") for exam in exams]
            if all(found.count(status) >= count for status, count in statuses.items()):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"after {WITHIN:.0f} s the exams are {found}")
            time.sleep(1.0)


@dataclass
class ReadingRoom:
    """A second destination; what it answers may be changed at any time."""

    port: int
    status: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """It listens."""
        node = AE("READING")
        for uid in (*_RESULTS, Verification):
            node.add_supported_context(uid)

        def answer(_event: Event) -> int:
            return self.status

        server = node.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)]
        )
        assert server is not None, "it does not block"
        try:
            yield
        finally:
            server.shutdown()


def send(node: Destination, files: Sequence[Path], datasets: Sequence[Dataset]) -> None:
    """Play the modality."""
    objects = [
        OutgoingObject(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), file)
        for file, dataset in zip(files, datasets, strict=True)
    ]
    for outcome in DicomSender(node, MODALITY_AE_TITLE).send(objects):
        if outcome.status != 0:
            raise RuntimeError(f"the node did not take an image: {outcome}")


@contextmanager
def console_with_exams(folder: Path) -> Iterator[Console]:
    """The demo's node, with exams in every state."""
    port, web_port, room = free_port(), free_port(), ReadingRoom(free_port())
    logs = folder / "logs"
    logs.mkdir(parents=True)
    exams = rebuild_exams(folder / "exams")
    with running_archive(
        folder / "archive", logs / "archive.log", node_ae_title=NODE_AE_TITLE, node_port=port
    ) as archive:
        settings = write_settings(
            folder / "node", port=port, archive=archive.destination, web_port=web_port
        )
        with settings.open("a") as more:
            more.write(_SECOND_DESTINATION.format(port=room.port))
        with running_node(settings, logs / "node.log", port=port) as node:
            console = Console(f"http://127.0.0.1:{web_port}", settings)
            console.cadnode(
                "users", "add", NAME, "--role", "admin", "--password-stdin", typed=f"{WORD}\n"
            )

            def made_up(number: int, datasets: Sequence[Dataset]) -> None:
                folder_of = folder / f"made-up-{number}"
                folder_of.mkdir()
                files = [
                    write(dataset, folder_of / f"{place}.dcm")
                    for place, dataset in enumerate(datasets)
                ]
                send(node.destination, files, datasets)

            def real(number: int) -> None:
                files = [image.path for image in exams[number].images]
                send(node.destination, files, [dcmread(f, stop_before_pixels=True) for f in files])

            with room.running():
                made_up(1, [tomosynthesis(study_uid="2.25.1")])
                room.status = _NOT_UNDERSTOOD
                made_up(2, four_views(study_uid="2.25.2", patient_id="TEST-0002"))
                console.wait_for({"failed": 1})
                room.status = 0
                real(0)
                console.wait_for({"delivered": 1})
            real(1)
            console.wait_for({"delivered": 1, "reported": 1, "skipped": 1})
            made_up(3, four_views(study_uid="2.25.3", patient_id="TEST-0003")[:2])
            yield console


@dataclass(frozen=True)
class Look:
    """In what a page is looked at."""

    width: int = 1200
    height: int = 800
    dark: bool = False

    def options(self) -> dict[str, object]:
        """For a new page of Playwright."""
        return {
            "viewport": {"width": self.width, "height": self.height},
            "color_scheme": "dark" if self.dark else "light",
            "locale": "en-GB",
        }


WIDE, DARK, PHONE = Look(), Look(dark=True), Look(width=390, height=844)


@dataclass(frozen=True)
class Shot:
    """One picture: what is opened, what is done there, and which part of it is kept."""

    name: str
    path: str
    prepare: Callable[[Page], None] = lambda _page: None
    look: Look = WIDE
    films: bool = False
    """It shows films, which a palette would spoil."""
    first: str = ""
    """The element at the upper edge; the page from its beginning without."""
    last: str = ""
    """The element at the lower edge."""
    highest: int = 1000
    """Pixels; what lies further down is left out."""


def films_drawn(page: Page) -> None:
    """Wait until every film of the exam is there, in its finest tiles."""
    expect(page.locator(".view[data-drawn]")).to_have_count(4, timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def search(page: Page) -> None:
    """Look for an exam by one box."""
    page.fill("#q", "TEST-")
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_contain_text("understood as")


def confirm(page: Page) -> None:
    """Be asked before something is done."""
    page.goto(page.url)
    page.locator("table.exams tr", has_text="failed").locator("input").check()
    page.locator("#rows button[value=retry]").click()
    expect(page.locator("dialog[open]")).to_be_visible()


def closer(page: Page) -> None:
    """The first mark shown by default, large, with the scores of the patches over it."""
    films_drawn(page)
    page.get_by_label("Patch heat map").check()
    row = page.locator("#marks-table tbody tr", has_text="shown by default").first
    name = row.get_by_role("rowheader").inner_text()
    page.get_by_role("button", name=f"{name}: this view alone").click()
    row.get_by_role("button", name="Show").click()
    page.wait_for_timeout(2500)


def tree(page: Page) -> None:
    """The first report, opened down to its findings."""
    page.locator(".result summary").first.click()
    expect(page.get_by_text("Mammography CAD Report")).to_be_visible()
    page.get_by_role("button", name="Open all").first.click()
    page.locator("summary", has_text="Image Library").click()


def history(page: Page) -> None:
    """Everything that happened."""
    page.locator(".history summary").click()


def echoed(page: Page) -> None:
    """The archive is asked whether it is there."""
    page.get_by_role("button", name="Send a C-ECHO to archive").click()
    expect(page.locator("#answer-destination-1")).not_to_be_empty(timeout=20_000)


def shots(exam: int) -> tuple[Shot, ...]:
    """All pictures, `exam` being one of the real ones."""
    one, films = f"/exams/{exam}", {"films": True, "first": "#views-heading", "last": ".hanging"}
    return (
        Shot("exams", "/exams"),
        Shot("exams-search", "/exams", search),
        Shot("exams-confirm", "/exams", confirm, highest=800),
        Shot("today", "/", highest=1400),
        Shot("today-dark", "/", look=DARK),
        Shot("today-phone", "/", look=PHONE),
        Shot("exam", one, films_drawn, **films, highest=1800),  # type: ignore[arg-type]
        Shot("exam-dark", one, films_drawn, look=DARK, **films),  # type: ignore[arg-type]
        Shot("exam-phone", one, films_drawn, look=PHONE, **films | {"first": ".hanging"}),  # type: ignore[arg-type]
        Shot("exam-heat-map", one, closer, **films, highest=1800),  # type: ignore[arg-type]
        Shot("exam-history", one, history, last="#exam-actions", highest=1800),
        Shot("report-tree", one, tree, first=".result", last=".result"),
        Shot("model", "/model"),
        Shot("model-curves", "/model", first="#curves-heading", highest=900),
        Shot("settings", "/settings", echoed, highest=1200),
        Shot("settings-origin", "/settings", first="#settings", highest=700),
        Shot("exam-marks", one, first="#marks-table", last="#marks-table", highest=900),
        Shot("users", "/users"),
        Shot("account", "/account"),
    )


def take(browser: Browser, console: Console, out: Path, only: Sequence[str] = ()) -> None:
    """Write every picture (or those in `only`) into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(**WIDE.options())  # type: ignore[arg-type]
    page.goto(f"{console.address}/sign-in")
    page.fill("#name", NAME)
    if not only or "sign-in" in only:
        keep(page, Shot("sign-in", "/sign-in", highest=440), out)
    page.fill("#password", WORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Today")
    session = page.context.storage_state()
    exams = json.loads(console.cadnode("jobs", "list", "--json"))
    real = next(exam["id"] for exam in exams if exam["status"] in ("delivered", "committed"))
    for shot in shots(real):
        if only and shot.name not in only:
            continue
        page = browser.new_page(**shot.look.options(), storage_state=session)  # type: ignore[arg-type]
        page.goto(f"{console.address}{shot.path}")
        page.wait_for_load_state("networkidle")
        shot.prepare(page)
        keep(page, shot, out)
        page.context.close()


def keep(page: Page, shot: Shot, out: Path) -> None:
    """Write what a page shows now, in few bytes."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(300)
    whole = float(page.evaluate("document.documentElement.scrollHeight"))
    top, bottom = 0.0, whole
    if shot.first and (box := page.locator(shot.first).first.bounding_box()):
        top = max(box["y"] - 12, 0)
    if shot.last and (box := page.locator(shot.last).first.bounding_box()):
        bottom = min(box["y"] + box["height"] + 12, whole)
    height = min(bottom - top, shot.highest)
    picture = Image.open(
        io.BytesIO(
            page.screenshot(
                full_page=True,
                clip={"x": 0, "y": top, "width": shot.look.width, "height": height},
            )
        )
    ).convert("RGB")
    path = out / f"{shot.name}.{'webp' if shot.films else 'png'}"
    if shot.films:
        picture.save(path, quality=80, method=6)
    else:
        picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise RuntimeError(f"{path.name} has {path.stat().st_size} bytes")


def main(arguments: list[str] | None = None) -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the pictures")
    parser.add_argument("--only", nargs="*", default=[], help="names of single pictures")
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="cadnode-") as folder,
        console_with_exams(Path(folder)) as console,
        chromium() as browser,
    ):
        take(browser, console, given.out, given.only)


if __name__ == "__main__":
    main()
