"""A small archive: it stores whatever comes into a folder and answers C-ECHO and C-FIND.

For trying the node out where no real archive is at hand (`python -m cadnode.dimse.archive`), and
as a peer in tests. It knows no users and keeps its index in memory.
"""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pynetdicom import ALL_TRANSFER_SYNTAXES, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.events import Event
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.transport import ThreadedAssociationServer

from cadnode.dimse.contexts import UNCOMPRESSED_TRANSFER_SYNTAXES, VERIFICATION
from cadnode.dimse.find import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

log = logging.getLogger(__name__)

_UNIQUE_KEYS = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
_MATCHED = (*_UNIQUE_KEYS.values(), "Modality", "SOPClassUID", "PatientID")

SUCCESS = 0x0000
PENDING = 0xFF00
IDENTIFIER_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
OUT_OF_RESOURCES = 0xA700


class Archive:
    """Stores into `folder` as `<SOP Instance UID>.dcm`; a later object replaces an earlier one."""

    def __init__(
        self, folder: Path, ae_title: str = "ARCHIVE", host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.host = host
        self._port = port
        self._index: dict[str, Dataset] = {}
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The port it listens on, also when 0 was asked for."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> None:
        """Index what lies in the folder, and listen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.dcm")):
            self._add(path)
        ae = ApplicationEntity(self.ae_title)
        ae.maximum_associations = 100
        ae.require_called_aet = True
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
        for uid in (VERIFICATION, STUDY_ROOT_FIND, PATIENT_ROOT_FIND):
            ae.add_supported_context(uid, list(UNCOMPRESSED_TRANSFER_SYNTAXES))
        handlers: list[Any] = [(evt.EVT_C_STORE, self._on_store), (evt.EVT_C_FIND, self._on_find)]
        self._server = cast(
            "ThreadedAssociationServer",
            ae.start_server((self.host, self._port), block=False, evt_handlers=handlers),
        )
        log.info("archive %s listens on port %d", self.ae_title, self.port)

    def stop(self) -> None:
        """Stop listening and end what is left."""
        server, self._server = self._server, None
        if server is not None:
            self._port = int(server.server_address[1])
            associations = server.active_associations
            server.shutdown()
            for association in associations:
                association.abort()

    def instances(self) -> Sequence[Path]:
        """The stored files."""
        return sorted(self.folder.glob("*.dcm"))

    def _add(self, path: Path) -> bool:
        try:
            header = dcmread(path, stop_before_pixels=True)
            uid = str(header.SOPInstanceUID)
        except (InvalidDicomError, AttributeError, ValueError, EOFError):
            return False
        with self._lock:
            self._index[uid] = header
        return True

    def _on_store(self, event: Event) -> int:
        uid = str(cast("Any", event.request).AffectedSOPInstanceUID)
        if not uid.replace(".", "").isdigit():
            return CANNOT_UNDERSTAND
        path = self.folder / f"{uid}.dcm"
        aside = path.with_suffix(".part")
        try:
            aside.write_bytes(event.encoded_dataset())
            aside.replace(path)
        except OSError:
            return OUT_OF_RESOURCES
        if self._add(path):
            return SUCCESS
        path.unlink()
        return CANNOT_UNDERSTAND

    def _on_find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        if level not in _UNIQUE_KEYS:
            yield IDENTIFIER_MISMATCH, None
            return
        with self._lock:
            headers = list(self._index.values())
        seen: set[str] = set()
        for header in headers:
            unique = str(header.get(_UNIQUE_KEYS[level], ""))
            if unique in seen or not all(_matches(identifier, header, key) for key in _MATCHED):
                continue
            seen.add(unique)
            yield PENDING, _answer(identifier, header, self.ae_title)


def _matches(identifier: Dataset, header: Dataset, keyword: str) -> bool:
    wanted = identifier.get(keyword)
    if wanted in (None, "", "*"):
        return True
    values = wanted if isinstance(wanted, MultiValue | list) else [wanted]
    return str(header.get(keyword, "")) in {str(value) for value in values}


def _answer(identifier: Dataset, header: Dataset, ae_title: str) -> Dataset:
    answer = Dataset()
    for element in identifier:
        if element.tag in header:
            answer.add(header[element.tag])
        else:
            answer.add_new(element.tag, element.VR, None)
    answer.QueryRetrieveLevel = identifier.QueryRetrieveLevel
    answer.RetrieveAETitle = ae_title
    if "SpecificCharacterSet" in header:
        answer.SpecificCharacterSet = header.SpecificCharacterSet
    return answer


def main() -> None:
    """Run an archive until interrupted."""
    parser = argparse.ArgumentParser(description="A small DICOM archive for trying things out.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ae-title", default="ARCHIVE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11113)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    archive = Archive(arguments.folder, arguments.ae_title, arguments.host, arguments.port)
    archive.start()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        archive.stop()


if __name__ == "__main__":
    main()
