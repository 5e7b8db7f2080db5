"""What stands in certificate files: whose they are, until when, and whether the key belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate of a file."""

    subject: str
    names: tuple[str, ...]
    """Host names and addresses that it is for."""
    expires_at: datetime
    sha256: str
    """Its fingerprint, in hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class PemFile:
    """The certificates of a PEM file, or why there are none."""

    certificates: tuple[CertificateFacts, ...]
    problem: str


def read_pem(file: Path) -> PemFile:
    """Every certificate in the file, in its order."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        return PemFile((), f"cannot be read ({error.strerror})")
    except ValueError:
        return PemFile((), "holds no certificate in PEM")
    return PemFile(tuple(_facts(certificate) for certificate in found), "")


def key_matches(certificate: Path, key: Path) -> bool | None:
    """Whether the key belongs to the first certificate of the file; None when one of the two
    cannot be read, as a key with a pass phrase."""
    try:
        shown = x509.load_pem_x509_certificates(certificate.read_bytes())[0].public_key()
        own = load_pem_private_key(key.read_bytes(), password=None).public_key()
    except (OSError, ValueError, TypeError):
        return None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return shown.public_bytes(*form) == own.public_bytes(*form)


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organization = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    subject = next((str(item.value) for item in (*common, *organization)), "")
    return CertificateFacts(
        subject=subject,
        names=_names(certificate),
        expires_at=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(SHA256()).hex(),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        # An old authority among many may say it in a form that nobody reads.
        return ()
    return tuple(
        str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)
    )
