"""DICOM over TLS, both ways: with DCMTK, and with peers that should not get anywhere."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cadnode.core.errors import TlsUnusable
from cadnode.core.ports import OutgoingObject
from cadnode.core.retry import SendCause, SendOutcome
from cadnode.dimse.admission import Peer
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from cadnode.dimse.tls import (
    ClientTls,
    ListenTls,
    TlsFiles,
    certificate_sha256,
    client_context,
    server_context,
)
from tests import objects
from tests.certificates import SiteCa
from tests.integration import pdus
from tests.integration.modality import Modality, image
from tests.integration.receiver import Receiver, receiver
from tests.peers import require, storescp

PROFILES = ["+py", "+px", "+pz"]
"""Of DCMTK: non-downgrading BCP 195, BCP 195, and its extended form."""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> SiteCa:
    return SiteCa(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(ca: SiteCa) -> TlsFiles:
    return ca.issue("node")


@pytest.fixture(scope="module")
def theirs(ca: SiteCa) -> TlsFiles:
    return ca.issue("modality")


@pytest.fixture(scope="module")
def rogue(tmp_path_factory: pytest.TempPathFactory, ca: SiteCa) -> TlsFiles:
    """Trusts our CA, but was given its own certificate by somebody else."""
    return SiteCa(tmp_path_factory.mktemp("rogue"), "rogue").issue("rogue", trusting=ca)


@pytest.fixture
def node(tmp_path: Path, ours: TlsFiles) -> Iterator[Receiver]:
    with receiver(tmp_path, tls=ListenTls(0, ours), association_seconds=20) as running:
        yield running


def tls_port(node: Receiver) -> int:
    assert node.scp.tls_port
    return node.scp.tls_port


def encrypted(port: int, context: ssl.SSLContext, **titles: str) -> Modality:
    modality = Modality(port, **titles)
    modality.connection = context.wrap_socket(modality.connection, server_hostname="localhost")
    return modality


def serves(node: Receiver, files: TlsFiles) -> bool:
    """True when a good sender gets an image in over TLS."""
    with encrypted(tls_port(node), client_context(files)) as modality:
        return modality.associate()[0] == pdus.ASSOCIATE_AC and modality.store("1.2.3.9")[0] == 0


def storescu(port: int, path: Path, *options: str | Path) -> int:
    program = require("storescu", "dcmtk")
    command = [program, "-aec", "CADNODE", *options, "127.0.0.1", str(port), path]
    done = subprocess.run(
        command,
        check=False,
        timeout=30,
        capture_output=True,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    return done.returncode


def with_certificate(files: TlsFiles) -> list[str | Path]:
    return ["+tls", files.key, files.certificate, "+cf", files.ca]


# Into our port


@pytest.mark.peers
@pytest.mark.parametrize("profile", PROFILES)
def test_storescu_stores_over_tls(
    profile: str, node: Receiver, theirs: TlsFiles, tmp_path: Path
) -> None:
    sent = objects.mammogram()
    path = objects.write(sent, tmp_path / "sent.dcm")

    assert storescu(tls_port(node), path, *with_certificate(theirs), profile) == 0
    assert list(node.kept()) == [sent.SOPInstanceUID]


@pytest.mark.peers
@pytest.mark.parametrize(
    "way", ["retired", "unencrypted", "anonymous", "rogue", "expired", "plain"]
)
def test_storescu_that_does_not_fit_gets_nothing_in(
    way: str, node: Receiver, ca: SiteCa, theirs: TlsFiles, rogue: TlsFiles, tmp_path: Path
) -> None:
    path = objects.write(objects.mammogram(), tmp_path / "sent.dcm")
    options: dict[str, Sequence[str | Path]] = {
        "retired": [*with_certificate(theirs), "+pa"],
        "unencrypted": [*with_certificate(theirs), "+pn"],
        "anonymous": ["+tla", "+cf", theirs.ca],
        "rogue": with_certificate(rogue),
        "expired": with_certificate(ca.issue("expired", days=-1)),
        "plain": [],
    }

    assert storescu(tls_port(node), path, *options[way]) != 0
    assert node.objects == []
    assert serves(node, theirs)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_image_of_some_megabytes_comes_in_whole(
    version: ssl.TLSVersion, node: Receiver, theirs: TlsFiles
) -> None:
    context = client_context(theirs)
    context.maximum_version = version
    data_set = image("1.2.3.1", size=5_000_001)
    with encrypted(tls_port(node), context) as modality:
        assert isinstance(modality.connection, ssl.SSLSocket)
        assert modality.connection.version() == version.name.replace("v1_", "v1.")
        modality.associate()

        assert modality.store("1.2.3.1", data_set, chunk=60_000) == (0x0000, "")
        assert modality.release() == pdus.RELEASE_RP
    assert node.kept()["1.2.3.1"].read_bytes().endswith(data_set)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "suites"),
    [
        (ssl.TLSVersion.TLSv1, "DEFAULT"),
        (ssl.TLSVersion.TLSv1_1, "DEFAULT"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384"),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384"),
        (ssl.TLSVersion.TLSv1_2, "NULL"),
    ],
    ids=["TLS 1.0", "TLS 1.1", "no AEAD", "no ephemeral key", "no encryption"],
)
def test_what_the_profile_leaves_out_is_refused_in_the_handshake(
    version: ssl.TLSVersion, suites: str, node: Receiver, theirs: TlsFiles
) -> None:
    context = client_context(theirs)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{suites}:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        encrypted(tls_port(node), context)
    assert serves(node, theirs)


def test_both_ports_serve_at_the_same_time(node: Receiver, theirs: TlsFiles) -> None:
    with Modality(node.port) as plain, encrypted(tls_port(node), client_context(theirs)) as closed:
        plain.associate()
        closed.associate()
        assert plain.store("1.2.3.1")[0] == closed.store("1.2.3.2")[0] == 0x0000


def test_without_the_plain_port_only_tls_is_there(
    tmp_path: Path, ours: TlsFiles, theirs: TlsFiles
) -> None:
    with receiver(tmp_path, plain=False, tls=ListenTls(0, ours)) as node:
        assert node.port == 0
        assert serves(node, theirs)


def test_a_client_that_says_nothing_in_the_handshake_stops_nobody(
    node: Receiver, theirs: TlsFiles
) -> None:
    silent = [Modality(tls_port(node)) for _ in range(10)]
    begun = time.monotonic()
    assert serves(node, theirs)
    assert time.monotonic() - begun < 10
    for modality in silent:
        modality.connection.close()


def test_a_handshake_that_does_not_come_to_an_end_is_cut(
    tmp_path: Path, ours: TlsFiles, theirs: TlsFiles
) -> None:
    refusals: list[str] = []
    with receiver(
        tmp_path,
        tls=ListenTls(0, ours),
        association_seconds=0.3,
        no_tls=lambda address, why: refusals.append(f"{address}: {why}"),
    ) as node:
        with Modality(tls_port(node)) as modality:
            modality.connection.sendall(b"\x16\x03\x01")
            assert modality.seconds_until_closed() < 5
        assert refusals == ["127.0.0.1: no answer in time"]


def test_a_title_that_wants_tls_or_a_certificate_is_held_to_it(
    tmp_path: Path, ours: TlsFiles, theirs: TlsFiles, ca: SiteCa
) -> None:
    pem = theirs.certificate.read_text().partition("-----END")[0] + ssl.PEM_FOOTER
    own = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    peers = (
        Peer("tls", "ENCRYPTED", tls=True),
        Peer("pinned", "PINNED", certificate_sha256=own),
        Peer("other", "OTHER", certificate_sha256="0" * 64),
    )
    answers: dict[tuple[str, bool], int] = {}
    with receiver(tmp_path, accept_unknown=True, peers=peers, tls=ListenTls(0, ours)) as node:
        for title in ("ENCRYPTED", "PINNED", "OTHER", "ANYBODY"):
            with Modality(node.port, calling=title) as modality:
                answers[title, False] = modality.associate()[0]
            with encrypted(tls_port(node), client_context(theirs), calling=title) as modality:
                answers[title, True] = modality.associate()[0]

    accepted, rejected = pdus.ASSOCIATE_AC, pdus.ASSOCIATE_RJ
    assert answers == {
        ("ENCRYPTED", False): rejected,
        ("ENCRYPTED", True): accepted,
        ("PINNED", False): rejected,
        ("PINNED", True): accepted,
        ("OTHER", False): rejected,
        ("OTHER", True): rejected,
        ("ANYBODY", False): accepted,
        ("ANYBODY", True): accepted,
    }


def test_senders_without_a_certificate_come_in_where_none_is_required(
    tmp_path: Path, ours: TlsFiles, ca: SiteCa
) -> None:
    anonymous = ssl.create_default_context(cafile=str(ca.file))
    listen = ListenTls(0, ours, require_client_certificate=False)
    with (
        receiver(tmp_path, tls=listen) as node,
        encrypted(tls_port(node), anonymous) as modality,
    ):
        assert modality.associate()[0] == pdus.ASSOCIATE_AC


def test_a_renewed_certificate_is_in_force_without_a_restart(
    tmp_path: Path, ca: SiteCa, theirs: TlsFiles
) -> None:
    own = ca.issue("renewed", days=10)

    def shown(node: Receiver) -> str | None:
        with encrypted(tls_port(node), client_context(theirs)) as modality:
            return certificate_sha256(modality.connection)

    with receiver(tmp_path, tls=ListenTls(0, own)) as node:
        first = shown(node)
        ca.issue("renewed")
        second = shown(node)
        own.certificate.write_text("half a fil")
        third = shown(node)

    assert first != second
    assert third == second


# Out to an archive


def send(destination: Destination, path: Path, timeouts: Timeouts | None = None) -> SendOutcome:
    header = objects.mammogram()
    outgoing = OutgoingObject(str(header.SOPClassUID), "1.2.3", path)
    (outcome,) = DicomSender(destination, "CADNODE", timeouts or Timeouts(answer=20)).send(
        [outgoing]
    )
    return outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return objects.write(objects.mammogram(), tmp_path / "sent.dcm")


def archive_at(port: int, files: TlsFiles, name: str = "localhost") -> Destination:
    return Destination("pacs", "ARCHIVE", "127.0.0.1", port, ClientTls(files, name))


@pytest.mark.peers
@pytest.mark.parametrize("profile", PROFILES)
def test_storescp_takes_our_objects_over_tls(
    profile: str, ca: SiteCa, ours: TlsFiles, path: Path, tmp_path: Path
) -> None:
    options = [*map(str, with_certificate(ca.issue("archive"))), profile]
    with storescp(tmp_path, options=options) as archive:
        outcome = send(archive_at(archive.port, ours), path)

    assert (outcome.cause, outcome.status) == (SendCause.ANSWERED, 0x0000)
    assert len(archive.files()) == 1


@pytest.mark.peers
@pytest.mark.parametrize(
    ("names", "days", "expected", "says"),
    [
        (("localhost",), 365, "127.0.0.1", "IP address mismatch"),
        (("localhost",), 365, "pacs.example", "Hostname mismatch"),
        (("localhost",), -1, "localhost", "expired"),
    ],
)
def test_an_archive_that_cannot_prove_who_it_is_gets_nothing(
    names: Sequence[str],
    days: int,
    expected: str,
    says: str,
    ca: SiteCa,
    ours: TlsFiles,
    path: Path,
    tmp_path: Path,
) -> None:
    files = ca.issue("doubtful", *names, days=days)
    with storescp(tmp_path, options=[*map(str, with_certificate(files))]) as archive:
        outcome = send(archive_at(archive.port, ours, expected), path)

    assert outcome.cause is SendCause.UNREACHABLE
    assert says in outcome.detail
    assert archive.files() == []


@pytest.mark.peers
def test_an_archive_with_a_certificate_of_somebody_else_gets_nothing(
    ours: TlsFiles, rogue: TlsFiles, path: Path, tmp_path: Path
) -> None:
    with storescp(tmp_path, options=[*map(str, with_certificate(rogue))]) as archive:
        outcome = send(archive_at(archive.port, ours), path)

    assert outcome.cause is SendCause.UNREACHABLE
    assert "certificate is not accepted" in outcome.detail


@pytest.mark.peers
@pytest.mark.parametrize("trouble", ["retired profile", "our certificate"])
def test_an_archive_with_which_there_is_no_tls_is_said_so(
    trouble: str, ca: SiteCa, ours: TlsFiles, rogue: TlsFiles, path: Path, tmp_path: Path
) -> None:
    profile = "+pa" if trouble == "retired profile" else "+py"
    options = [*map(str, with_certificate(ca.issue("archive"))), profile]
    with storescp(tmp_path, options=options) as archive:
        outcome = send(archive_at(archive.port, rogue if profile == "+py" else ours), path)

    assert outcome.cause is SendCause.UNREACHABLE
    assert outcome.detail.startswith(f"TLS with 127.0.0.1:{archive.port}: ")
    assert archive.files() == []


@pytest.mark.peers
def test_a_plain_archive_is_not_spoken_to_in_clear(
    ours: TlsFiles, path: Path, tmp_path: Path
) -> None:
    with storescp(tmp_path) as archive:
        outcome = send(archive_at(archive.port, ours), path, Timeouts(connect=3))

    assert outcome.cause is SendCause.UNREACHABLE
    assert "it may speak no TLS" in outcome.detail
    assert archive.files() == []


def test_a_certificate_that_does_not_serve_makes_the_delivery_wait(
    ours: TlsFiles, path: Path, tmp_path: Path
) -> None:
    files = TlsFiles(ours.certificate, tmp_path / "missing.key", ours.ca)
    outcome = send(archive_at(1, files), path)

    assert outcome.cause is SendCause.UNREACHABLE
    assert "E102" in outcome.detail
    assert "missing.key" in outcome.detail


# Files that do not serve


def test_files_that_do_not_serve_are_named(ca: SiteCa, ours: TlsFiles, tmp_path: Path) -> None:
    other = ca.issue("other")
    text = tmp_path / "text"
    text.write_text("no certificate")
    text.chmod(0o600)
    for files, says in (
        (TlsFiles(ours.certificate, other.key, ours.ca), "does not belong to the certificate"),
        (TlsFiles(text, ours.key, ours.ca), "tls.certificate"),
        (TlsFiles(ours.certificate, text, ours.ca), "tls.certificate, tls.key"),
        (TlsFiles(ours.certificate, ours.key, text), "tls.ca"),
        (TlsFiles(ours.certificate, ours.key, tmp_path / "no"), "tls.ca: .*cannot be read"),
    ):
        with pytest.raises(TlsUnusable, match=says):
            server_context(files)


def test_a_key_that_others_may_read_is_refused(ca: SiteCa) -> None:
    files = ca.issue("open")
    for mode, well in ((0o600, True), (0o640, True), (0o644, False), (0o660, False)):
        files.key.chmod(mode)
        if well:
            client_context(files)
        else:
            with pytest.raises(TlsUnusable, match="chmod 0600"):
                client_context(files)


def test_a_key_with_a_pass_phrase_is_refused_without_asking(ca: SiteCa) -> None:
    files = ca.issue("locked")
    locked = files.key.with_suffix(".locked")
    made = subprocess.run(
        [require("openssl", "openssl"), "pkey", "-aes256", "-passout", "pass:secret"],
        input=files.key.read_bytes(),
        capture_output=True,
        check=True,
    )
    locked.write_bytes(made.stdout)
    locked.chmod(0o600)
    with pytest.raises(TlsUnusable, match="without pass phrase"):
        client_context(TlsFiles(files.certificate, locked, files.ca))
