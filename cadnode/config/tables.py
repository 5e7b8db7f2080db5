"""The tables of the settings file: what each may hold, checked when it is read.

`config/cadnode.toml` shows every key with its default; `load_settings` reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from cadnode.config.values import (
    Address,
    AETitle,
    Amount,
    Bucket,
    Device,
    Fingerprint,
    Host,
    Issuer,
    Mailbox,
    Network,
    Percent,
    Port,
    Positive,
    ResultKind,
    ViewName,
    WebAddress,
    ends_before_its_path,
    is_loopback,
)
from cadnode.core.notices import NoticeKind


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeTable(_Table):
    """`[node]`: who the node is on the network and where it keeps its data."""

    ae_title: AETitle = "CADNODE"
    host: Host = "0.0.0.0"  # noqa: S104  a node is there to be reached; strangers are rejected
    port: Port = 11112
    data_dir: Path = Path("data")
    station_name: str = "CADNODE"
    accept_unknown: bool = False
    keep_identifiers: bool = True
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 100
    plain: bool = True
    receivers: Annotated[int, Field(ge=1, le=64)] = 1


class TlsTable(_Table):
    """`[tls]`: the node's certificate, and the port for encrypted associations."""

    listen: bool = False
    port: Port = 2762
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    require_client_certificate: bool = True

    @model_validator(mode="after")
    def _listens_with_a_certificate(self) -> TlsTable:
        if self.listen and not self.complete:
            raise ValueError("listen = true needs certificate, key and ca")
        return self

    @property
    def complete(self) -> bool:
        """True when all three files are named."""
        return None not in (self.certificate, self.key, self.ca)


class LimitsTable(_Table):
    """`[limits]`: what each sender may take unless its own entry says otherwise; 0 is no limit."""

    max_associations: Amount = 50
    mb_per_minute: Amount = 0
    max_object_mb: Amount = 4096


class PeerTable(_Table):
    """`[[peers]]`: one sender that may store to the node."""

    name: str
    ae_title: AETitle
    host: Network | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: bool = False
    certificate_sha256: Fingerprint | None = None
    may_store: bool = True
    max_associations: Amount | None = None
    mb_per_minute: Amount | None = None
    max_object_mb: Amount | None = None


class DestinationTable(_Table):
    """`[[destinations]]`: one archive or workstation that gets results."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    ae_title: AETitle
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    objects: tuple[ResultKind, ...] = ("mammography-cad-sr", "tid1500-sr")
    commitment: Literal["auto", "require", "off"] = "auto"
    enabled: bool = True
    tls: bool = False
    certificate_host: Host | None = None


class SourceTable(_Table):
    """`[[sources]]`: one archive that exams are fetched from."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    ae_title: AETitle
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    retrieve: Literal["get", "move"] = "get"
    deadline_seconds: Positive = 900.0
    tls: bool = False
    certificate_host: Host | None = None


class PullTable(_Table):
    """`[[pull]]`: exams that are fetched by themselves, again and again."""

    source: str
    every_minutes: Positive = 15.0
    days: Annotated[int, Field(ge=0, le=3660)] = 1
    modality: Annotated[str, Field(pattern=r"^[A-Z]{0,16}$")] = "MG"


class ExamTable(_Table):
    """`[exam]`: when an exam is complete and which views are read."""

    expected_views: tuple[ViewName, ...] = ("RCC", "LCC", "RMLO", "LMLO")
    analyzed_views: tuple[str, ...] = ("CC", "MLO")
    quiet_seconds: Positive = 60.0


class ModelTable(_Table):
    """`[model]`: which bundle finds the calcifications, and on what."""

    folder: Path | None = None
    name: str = "calc-resnet50"
    version: str = "latest"
    runtime: Literal["auto", "keras", "openvino", "onnxruntime"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class DatabaseTable(_Table):
    """`[database]`: the job database; empty means `cadnode.db` in the data folder."""

    url: str = ""


class StorageTable(_Table):
    """`[storage]`: where images and results lie, if not in the data folder of this machine."""

    folder: Path | None = None
    url: Bucket = ""
    endpoint_url: WebAddress = ""
    region: str = ""
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    secret_key_file: Path | None = None
    ca: Path | None = None
    seconds: Positive = 30.0
    cache_mb: Annotated[int, Field(ge=64)] = 10240

    @model_validator(mode="after")
    def _one_place(self) -> StorageTable:
        if self.folder is not None and self.url:
            raise ValueError("folder and url: one of the two")
        if "@" in self.endpoint_url:
            raise ValueError("endpoint_url has no name in it: see access_key")
        has_secret = bool(self.secret_key.get_secret_value())
        if has_secret and self.secret_key_file:
            raise ValueError("secret_key and secret_key_file: one of the two")
        if bool(self.access_key) != (has_secret or self.secret_key_file is not None):
            raise ValueError("access_key and secret_key (or its file) go together")
        return self


class WorkTable(_Table):
    """`[work]`: how many workers there are, their leases and tries."""

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    devices: tuple[Device, ...] = ()
    lease_seconds: Positive = 60.0
    poll_seconds: Positive = 0.25
    max_tries: Annotated[int, Field(ge=4)] = 5
    """More than the three tries of one image, so that one bad image is given up alone."""
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    decode_seconds: Positive = 60.0
    decode_memory_mb: Annotated[int, Field(ge=256)] = 4096
    """Of the process that decodes compressed pixels."""

    @model_validator(mode="after")
    def _counted_once(self) -> WorkTable:
        if self.devices and self.processes != 1:
            raise ValueError(
                "processes and devices: one of the two; a device named twice gets two processes"
            )
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """One entry for each worker: its device, or empty where `[model] device` says it."""
        return self.devices or ("",) * self.processes


class CeleryTable(_Table):
    """`[celery]`: a broker that carries job numbers to workers on other machines."""

    enabled: bool = False
    broker_url: str = "amqp://guest:guest@localhost:5672//"
    ca: Path | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "cadnode"
    sweep_seconds: Positive = 2.0
    idle_seconds: Positive = 10.0

    @model_validator(mode="after")
    def _broker_is_known(self) -> CeleryTable:
        # A message that names the value would show its password.
        schemes = ("amqp", "amqps", "pyamqp", "redis", "rediss")
        for url in self.broker_url.split(";"):
            if url.partition("://")[0] not in schemes or "://" not in url:
                raise ValueError(
                    "broker_url is written as amqp://user:password@host:5672//"
                    " or redis://:password@host:6379/0"
                )
            if not ends_before_its_path(url):
                raise ValueError(
                    "broker_url is written as amqp://user:password@host:5672//"
                    " with %2F, %3F, %23 for a /, ? or # in the password"
                )
        return self


class DeliveryTable(_Table):
    """`[delivery]`: how results are sent, and when to stop trying."""

    deadline_seconds: Positive = 120.0
    first_delay_seconds: Positive = 1.0
    longest_delay_seconds: Positive = 900.0
    give_up_hours: Positive = 72.0
    commitment_delay_seconds: Positive = 5.0
    commitment_report_seconds: Positive = 1800.0
    commitment_failures: Annotated[int, Field(ge=0)] = 3


class RetentionTable(_Table):
    """`[retention]`: how long files stay and how much of the disk is left alone."""

    max_age_days: Positive = 30.0
    max_bytes: Annotated[int, Field(ge=0)] = 0
    high_water_percent: Percent = 95.0
    low_water_percent: Percent = 90.0
    reserve_mb: Annotated[int, Field(ge=0)] = 1024

    @model_validator(mode="after")
    def _water_marks_in_order(self) -> RetentionTable:
        if self.low_water_percent >= self.high_water_percent:
            raise ValueError("low_water_percent must be below high_water_percent")
        return self


class WebTable(_Table):
    """`[web]`: the console."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Port = 8080
    tls: bool = False
    certificate: Path | None = None
    key: Path | None = None
    hosts: tuple[Host, ...] = ()
    trusted_proxies: tuple[Address, ...] = ()
    allow_plain: bool = False
    session_hours: Positive = 12.0
    idle_minutes: Positive = 60.0
    oidc_issuer: Issuer = ""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_client_secret_file: Path | None = None
    oidc_scopes: str = "openid profile email"
    oidc_name_claim: str = "preferred_username"
    oidc_role_claim: str = "roles"
    oidc_roles: dict[str, Literal["viewer", "operator", "admin"]] = {}
    image_memory_mb: Annotated[int, Field(ge=16)] = 384
    metrics_from: tuple[Address, ...] = ("127.0.0.1", "::1")
    public_url: WebAddress = ""

    @model_validator(mode="after")
    def _nobody_listens_in(self) -> WebTable:
        open_to_others = self.enabled and not is_loopback(self.host)
        if open_to_others and not (self.tls or self.trusted_proxies or self.allow_plain):
            raise ValueError(
                f"host = {self.host!r} is reached from other machines, and passwords would go over"
                " the network in clear: set tls = true, or name the proxy that encrypts in"
                " trusted_proxies, or say allow_plain = true"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    @model_validator(mode="after")
    def _provider_is_whole(self) -> WebTable:
        if not self.oidc_issuer:
            return self
        if not self.oidc_client_id:
            raise ValueError("oidc_issuer needs oidc_client_id")
        if not self.oidc_roles:
            raise ValueError("oidc_issuer needs oidc_roles: who gets which role")
        if self.oidc_client_secret.get_secret_value() and self.oidc_client_secret_file:
            raise ValueError("oidc_client_secret and oidc_client_secret_file: one of the two")
        return self


class AuditTable(_Table):
    """`[audit]`: where audit messages go; nowhere while `host` is empty."""

    host: Host = ""
    transport: Literal["tls", "udp"] = "tls"
    port: Port = 0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> AuditTable:
        if self.key is not None and self.certificate is None:
            raise ValueError("a key needs its certificate")
        return self


class NotifyTable(_Table):
    """`[notify]`: what persons are told by mail and webhook; nobody while neither is named."""

    kinds: tuple[NoticeKind, ...] = tuple(NoticeKind)
    destination_minutes: Positive = 15.0
    disk_percent: Percent = 90.0
    certificate_days: Positive = 30.0
    collect_seconds: Annotated[float, Field(ge=0)] = 60.0
    quiet_minutes: Annotated[float, Field(ge=0)] = 30.0
    mail_host: Host = ""
    mail_port: Port = 0
    mail_security: Literal["starttls", "tls", "none"] = "starttls"
    mail_from: Mailbox | None = None
    mail_to: tuple[Mailbox, ...] = ()
    mail_user: str = ""
    mail_password_file: Path | None = None
    mail_ca: Path | None = None
    webhook_url: WebAddress = ""
    webhook_secret_file: Path | None = None
    webhook_bearer_file: Path | None = None
    webhook_ca: Path | None = None

    @model_validator(mode="after")
    def _mail_has_both_ends(self) -> NotifyTable:
        if self.mail_host and not (self.mail_from and self.mail_to):
            raise ValueError("mail_host needs mail_from and mail_to")
        if self.mail_user and self.mail_security == "none":
            raise ValueError("mail_user needs mail_security: a password is not sent in clear")
        return self


class LogTable(_Table):
    """`[log]`: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
