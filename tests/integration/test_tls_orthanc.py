"""DICOM over TLS with a real Orthanc, both ways, certificates on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadnode.core.ports import OutgoingObject
from cadnode.core.retry import SendCause
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from cadnode.dimse.tls import ClientTls, ListenTls
from tests import objects
from tests.certificates import SiteCa
from tests.integration.receiver import receiver
from tests.peers import orthanc

pytestmark = pytest.mark.peers


def test_orthanc_takes_our_object_over_tls_and_sends_it_back_over_tls(tmp_path: Path) -> None:
    ca = SiteCa(tmp_path / "ca")
    ours, theirs = ca.issue("node"), ca.issue("orthanc")
    sent = objects.mammogram()
    uid = str(sent.SOPInstanceUID)
    path = objects.write(sent, tmp_path / "sent.dcm")

    with receiver(tmp_path, plain=False, tls=ListenTls(0, ours)) as node:
        modality = {
            "AET": "CADNODE",
            "Host": "127.0.0.1",
            "Port": node.scp.tls_port,
            "UseDicomTls": True,
        }
        settings = {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(theirs.certificate),
            "DicomTlsPrivateKey": str(theirs.key),
            "DicomTlsTrustedCertificates": str(theirs.ca),
            "DicomModalities": {"cadnode": modality},
        }
        with orthanc(tmp_path, settings=settings) as archive:
            way = ClientTls(ours, "localhost")
            destination = Destination("pacs", archive.ae_title, "127.0.0.1", archive.port, way)
            (outcome,) = DicomSender(destination, "CADNODE", Timeouts(answer=20)).send(
                [OutgoingObject(str(sent.SOPClassUID), uid, path)]
            )
            assert (outcome.cause, outcome.status) == (SendCause.ANSWERED, 0x0000)
            (instance,) = archive.get("/instances")

            archive.post("/modalities/cadnode/store", instance.encode())

        assert list(node.kept()) == [uid]
