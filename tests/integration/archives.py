"""Archives to fetch from, each knowing us as the destination of C-MOVE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pydicom.dataset import Dataset

from cadnode.core.ports import OutgoingObject
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from tests.objects import write
from tests.peers import free_port, orthanc, require, running

OWN_AE_TITLE = "CADNODE"

QUICK = Timeouts(connect=5, association=10, answer=30, delivery=60)


class StartArchive(Protocol):
    """Starts an archive that may send to our port."""

    def __call__(self, folder: Path, our_port: int) -> AbstractContextManager[Destination]: ...


@contextmanager
def of_orthanc(folder: Path, our_port: int) -> Iterator[Destination]:
    """A real Orthanc; it answers C-GET and C-MOVE of the modalities it knows."""
    own = [OWN_AE_TITLE, "127.0.0.1", our_port]
    settings = {"DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True}
    with orthanc(folder, modalities={"cadnode": own}, settings=settings) as peer:
        yield Destination("archive", peer.ae_title, "127.0.0.1", peer.port)


@contextmanager
def of_dcmqrscp(folder: Path, our_port: int) -> Iterator[Destination]:
    """A real dcmqrscp of DCMTK."""
    program, port = require("dcmqrscp", "dcmtk"), free_port()
    (folder / "db").mkdir(parents=True)
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = ({OWN_AE_TITLE}, localhost, {our_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQR {folder / 'db'} RW (50, 1000mb) ANY\nAETable END\n"
    )
    with running([program, "-c", configuration, "+xs"], port, folder / "dcmqrscp.log"):
        yield Destination("archive", "QR", "127.0.0.1", port)


ARCHIVES: Mapping[str, StartArchive] = {"orthanc": of_orthanc, "dcmqrscp": of_dcmqrscp}


def fill(archive: Destination, datasets: Sequence[Dataset], folder: Path) -> None:
    """Store the objects there."""
    outgoing = [
        OutgoingObject(
            str(dataset.SOPClassUID),
            str(dataset.SOPInstanceUID),
            write(dataset, folder / f"{dataset.SOPInstanceUID}.dcm"),
        )
        for dataset in datasets
    ]
    outcomes = DicomSender(archive, OWN_AE_TITLE, QUICK).send(outgoing)
    assert {outcome.status for outcome in outcomes} == {0x0000}, outcomes
