"""Certificates of the settings: whose, until when, and does the key belong to them?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

from cadnode.certificates import key_matches, read_pem
from cadnode.config import load_settings
from cadnode.core.node_status import CertificateStatus
from cadnode.status import certificates_of
from tests.certificates import SiteCa


def statuses(folder: Path, text: str) -> dict[str, CertificateStatus]:
    file = folder / "cadnode.toml"
    file.write_text(text)
    return {item.use: item for item in certificates_of(load_settings(file, {}))}


def test_a_certificate_says_whose_it_is_for_what_and_until_when(tmp_path: Path):
    files = SiteCa(tmp_path).issue("node", "cad.hospital.example", "10.0.0.9", days=20)
    (own,) = read_pem(files.certificate).certificates
    assert own.subject == "node"
    assert own.names == ("cad.hospital.example", "10.0.0.9")
    assert own.expires_at - datetime.now(UTC) < timedelta(days=20)
    assert len(own.sha256) == 64
    (authority,) = read_pem(files.ca).certificates
    assert (authority.subject, authority.names) == ("site", ())


def test_what_is_no_certificate_is_said_so(tmp_path: Path):
    assert read_pem(tmp_path / "none.crt").problem == "cannot be read (No such file or directory)"
    (tmp_path / "text.crt").write_text("hello")
    assert read_pem(tmp_path / "text.crt").problem == "holds no certificate in PEM"


def test_a_key_belongs_to_its_certificate_or_not_or_nobody_can_say(tmp_path: Path):
    ca = SiteCa(tmp_path)
    one, two = ca.issue("one"), ca.issue("two")
    assert key_matches(one.certificate, one.key) is True
    assert key_matches(one.certificate, two.key) is False
    assert key_matches(one.certificate, tmp_path / "none.key") is None
    two.key.write_text("no key")
    assert key_matches(one.certificate, two.key) is None


def test_every_certificate_of_the_settings_is_looked_at(tmp_path: Path):
    ca = SiteCa(tmp_path)
    node, audit, web = ca.issue("node"), ca.issue("audit"), ca.issue("web")
    found = statuses(
        tmp_path,
        f'[tls]\ncertificate = "{node.certificate}"\nkey = "{node.key}"\nca = "{node.ca}"\n'
        f'[audit]\nhost = "log"\ncertificate = "{audit.certificate}"\nkey = "{audit.key}"\n'
        f'ca = "{audit.ca}"\n'
        f'[web]\ncertificate = "{web.certificate}"\nkey = "{web.key}"\n'
        f'[notify]\nmail_ca = "{ca.file}"\nwebhook_ca = "{tmp_path / "none"}"\n',
    )
    assert {use: item.subject for use, item in found.items()} == {
        "this node": "node",
        "whom this node trusts": "site",
        "audit: this node": "audit",
        "audit: whom it trusts": "site",
        "console": "web",
        "mail: whom it trusts": "site",
        "webhook: whom it trusts": "",
    }
    assert [item.key_matches for item in found.values() if item.key_matches is not None] == [
        True
    ] * 3
    assert "cannot be read" in found["webhook: whom it trusts"].problem
    assert not any(item.problem for use, item in found.items() if "webhook" not in use)


def test_a_key_of_another_certificate_is_a_problem(tmp_path: Path):
    ca = SiteCa(tmp_path)
    node, other = ca.issue("node"), ca.issue("other")
    text = f'[tls]\ncertificate = "{node.certificate}"\nkey = "{other.key}"\nca = "{node.ca}"\n'
    assert "does not belong to it" in statuses(tmp_path, text)["this node"].problem
    other.key.unlink()
    assert "cannot be read" in statuses(tmp_path, text)["this node"].problem


def test_names_in_a_form_that_nobody_reads_are_none(tmp_path: Path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old authority")])
    broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"no names")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .add_extension(broken, critical=False)
        .sign(key, SHA256())
    )
    file = tmp_path / "old.crt"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    (found,) = read_pem(file).certificates
    assert (found.subject, found.names) == ("old authority", ())
