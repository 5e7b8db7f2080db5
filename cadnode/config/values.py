"""What single settings may hold: values with their checks, each with a sentence for who wrote it wrong."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

ResultKind = Literal[
    "mammography-cad-sr", "tid1500-sr", "gsps", "secondary-capture", "segmentation"
]


def _ae_title(value: str) -> str:
    if not (1 <= len(value) <= 16 and value.isascii() and value.isprintable()):
        raise ValueError("an AE title is 1 to 16 printable ASCII characters")
    if value != value.strip() or "\\" in value:
        raise ValueError("an AE title has no blank at its ends and no backslash")
    return value


def _view_name(value: str) -> str:
    if value[:1] not in ("R", "L") or not value[1:].isalpha() or not value.isupper():
        raise ValueError("a view is a side and a view in capitals, as RCC or LMLO")
    return value


def _network(value: str) -> str:
    if "/" in value:
        try:
            ipaddress.ip_network(value)
        except ValueError as error:
            raise ValueError("a network is written as 10.0.0.0/24") from error
        return value
    return _host(value)


def _address(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError("an address or a network is written as 10.0.0.5 or 10.0.0.0/24") from error
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("an address of the web begins with http:// or https:// and a host")
    return value.rstrip("/")


def _bucket(value: str) -> str:
    if value and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,62}(/[\w.=-]+)*/?", value, re.ASCII):
        raise ValueError("a place for objects is written as s3://bucket/prefix")
    return value.rstrip("/")


def ends_before_its_path(url: str) -> bool:
    """False for a URL whose password has a character that ends it too early."""
    parts = urlsplit(url)
    try:
        return parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        # It names what it took for the port: a part of the password.
        return False


def _mailbox(value: str) -> str:
    local, at, domain = value.rpartition("@")
    if not (local and at and domain) or not value.isprintable() or " " in value:
        raise ValueError("a mail address is written as somebody@hospital.example")
    return value


def _host(value: str) -> str:
    try:
        value.encode("idna")
    except UnicodeError as error:
        raise ValueError("this is no host name") from error
    return value


def _fingerprint(value: str) -> str:
    digits = value.replace(":", "").lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError("a SHA-256 fingerprint is 64 hexadecimal digits")
    return digits


def is_loopback(host: str) -> bool:
    """Is it this machine, as localhost or by its address?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _device(value: str) -> str:
    if value != "cpu" and not value.isdecimal():
        raise ValueError('a device is "cpu" or the number of a GPU, as "0"')
    return value


def _issuer(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or plain):
        raise ValueError("an issuer is an https:// URL")
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=0, le=65535)]
ViewName = Annotated[str, AfterValidator(_view_name)]
Amount = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(gt=0, le=100)]
Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
WebAddress = Annotated[str, AfterValidator(_url)]
Bucket = Annotated[str, AfterValidator(_bucket)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
Device = Annotated[str, AfterValidator(_device)]
Issuer = Annotated[str, AfterValidator(_issuer)]
