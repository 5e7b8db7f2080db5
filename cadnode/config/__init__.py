"""The settings: one frozen object, read once from TOML and the environment, checked at start.

`config/cadnode.toml` shows every key with its default. The environment wins over the file:
`CADNODE_NODE__PORT=11113` sets `port` in `[node]`; tables that may stand several times take JSON
(`CADNODE_PEERS='[{"name": "room 1", "ae_title": "MG1"}]'`). `CADNODE_CONFIG` names the file.

Relative paths are taken from the folder of the file they stand in, so that every command finds the
same data wherever it is started.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cadnode.config.origin import Origins, hash_of, name_of
from cadnode.config.tables import (
    AuditTable,
    CeleryTable,
    DatabaseTable,
    DeliveryTable,
    DestinationTable,
    ExamTable,
    LimitsTable,
    LogTable,
    ModelTable,
    NodeTable,
    NotifyTable,
    PeerTable,
    PullTable,
    RetentionTable,
    SourceTable,
    StorageTable,
    TlsTable,
    WebTable,
    WorkTable,
)
from cadnode.core.errors import ConfigError
from cadnode.core.exam import ExamRules
from cadnode.core.notices import NoticeRules
from cadnode.core.proof import ProofRules
from cadnode.core.retention import RetentionRules
from cadnode.core.retry import RetryRules

ENVIRONMENT_PREFIX = "CADNODE_"
CONFIG_VARIABLE = "CADNODE_CONFIG"


class Settings(BaseSettings):
    """Everything in force, with paths made absolute."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    node: NodeTable = NodeTable()
    peers: tuple[PeerTable, ...] = ()
    destinations: tuple[DestinationTable, ...] = ()
    sources: tuple[SourceTable, ...] = ()
    pull: tuple[PullTable, ...] = ()
    exam: ExamTable = ExamTable()
    model: ModelTable = ModelTable()
    database: DatabaseTable = DatabaseTable()
    storage: StorageTable = StorageTable()
    work: WorkTable = WorkTable()
    celery: CeleryTable = CeleryTable()
    delivery: DeliveryTable = DeliveryTable()
    retention: RetentionTable = RetentionTable()
    web: WebTable = WebTable()
    audit: AuditTable = AuditTable()
    notify: NotifyTable = NotifyTable()
    log: LogTable = LogTable()
    tls: TlsTable = TlsTable()
    limits: LimitsTable = LimitsTable()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        names = [destination.name for destination in self.destinations]
        if len(names) != len(set(names)):
            raise ValueError("destinations: every name may stand once only")
        return self

    @model_validator(mode="after")
    def _pulls_have_sources(self) -> Settings:
        names = [source.name for source in self.sources]
        if len(names) != len(set(names)):
            raise ValueError("sources: every name may stand once only")
        for pull in self.pull:
            if pull.source not in names:
                raise ValueError(f"pull: there is no source {pull.source!r} in [[sources]]")
        if len({(pull.source, pull.modality) for pull in self.pull}) < len(self.pull):
            raise ValueError("pull: a source and a modality may stand together once only")
        return self

    @model_validator(mode="after")
    def _tls_holds_together(self) -> Settings:
        for kind, entries in (("destinations", self.destinations), ("sources", self.sources)):
            for entry in entries:
                if entry.tls and not self.tls.complete:
                    raise ValueError(
                        f"{kind}: {entry.name!r} has tls = true, which needs certificate, key and"
                        " ca in [tls]"
                    )
        for source in self.sources:
            if source.tls and source.retrieve == "move" and not self.tls.listen:
                raise ValueError(
                    f"sources: {source.name!r} has tls = true and sends to our port, which needs"
                    " listen = true in [tls]"
                )
        for peer in self.peers:
            if peer.tls and not self.tls.listen:
                raise ValueError(
                    f"peers: {peer.name!r} has tls = true, which needs listen = true in [tls]"
                )
        if not self.node.plain and not self.tls.listen:
            raise ValueError("node.plain = false needs listen = true in [tls]")
        return self

    @model_validator(mode="after")
    def _console_has_its_certificate(self) -> Settings:
        if self.web.tls and None in self.web_certificate:
            raise ValueError("web.tls = true needs certificate and key in [web] or in [tls]")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content comes in as arguments."""
        return env_settings, init_settings

    @property
    def database_url(self) -> str:
        """The job database in force."""
        return self.database.url or f"sqlite:///{self.node.data_dir / 'cadnode.db'}"

    @property
    def files_dir(self) -> Path:
        """Whose disk holds what is received: the shared folder, or the data folder."""
        return self.storage.folder or self.node.data_dir

    @property
    def web_certificate(self) -> tuple[Path | None, Path | None]:
        """The certificate of the console and its key: its own, or the node's."""
        if self.web.certificate is not None:
            return self.web.certificate, self.web.key
        return self.tls.certificate, self.tls.key

    @property
    def exam_rules(self) -> ExamRules:
        """When an exam is complete."""
        return ExamRules(
            expected_views=frozenset(self.exam.expected_views),
            quiet_seconds=self.exam.quiet_seconds,
        )

    @property
    def retry_rules(self) -> RetryRules:
        """How deliveries are tried again."""
        return RetryRules(
            first_delay=timedelta(seconds=self.delivery.first_delay_seconds),
            longest_delay=timedelta(seconds=self.delivery.longest_delay_seconds),
            give_up_after=timedelta(hours=self.delivery.give_up_hours),
        )

    @property
    def retention_rules(self) -> RetentionRules:
        """When files of finished exams go."""
        table = self.retention
        return RetentionRules(
            max_age=timedelta(days=table.max_age_days),
            max_bytes=table.max_bytes,
            high_water=table.high_water_percent / 100,
            low_water=table.low_water_percent / 100,
            reserve_bytes=table.reserve_mb << 20,
        )

    @property
    def notice_rules(self) -> NoticeRules:
        """What persons are told of, and how often."""
        table = self.notify
        return NoticeRules(
            kinds=frozenset(table.kinds),
            destination_down=timedelta(minutes=table.destination_minutes),
            disk_share=table.disk_percent / 100,
            certificate=timedelta(days=table.certificate_days),
            collect=timedelta(seconds=table.collect_seconds),
            quiet=timedelta(minutes=table.quiet_minutes),
        )

    @property
    def proof_rules(self) -> ProofRules:
        """How destinations are asked whether they hold what they stored."""
        delivery = self.delivery
        return ProofRules(
            delay=timedelta(seconds=delivery.commitment_delay_seconds),
            report_within=timedelta(seconds=delivery.commitment_report_seconds),
            most_failures=delivery.commitment_failures,
            longest_delay=timedelta(seconds=delivery.longest_delay_seconds),
            give_up_after=timedelta(hours=delivery.give_up_hours),
        )

    def destination(self, name: str) -> DestinationTable:
        """The destination with this name; ConfigError names those there are."""
        for destination in self.destinations:
            if destination.name == name:
                return destination
        known = ", ".join(d.name for d in self.destinations) or "none"
        raise ConfigError(f"destinations: there is no {name!r} (known: {known})")

    def source(self, name: str) -> SourceTable:
        """The source with this name; ConfigError names those there are."""
        for source in self.sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self.sources) or "none"
        raise ConfigError(f"sources: there is no {name!r} (known: {known})")


def load_settings(file: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings from `file` (or the one `CADNODE_CONFIG` names, or defaults) and `environ`.

    Raises ConfigError with one line that names the key and what is allowed.
    """
    return load_with_origins(file, environ)[0]


def load_with_origins(
    file: Path | None, environ: Mapping[str, str] = os.environ
) -> tuple[Settings, Origins]:
    """The settings as `load_settings` has them, and where each one came from."""
    if file is None and environ.get(CONFIG_VARIABLE):
        file = Path(environ[CONFIG_VARIABLE])
    content = _read(file) if file else {}
    _refuse_unknown_variables(environ)
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise ConfigError(_first_problem(error, file, _told(content, environ))) from error
    except ValueError as error:
        # pydantic-settings: a table set by the environment is not JSON.
        raise ConfigError(f"environment: {error}") from error
    origins = Origins(
        file=file.resolve() if file else None,
        file_sha256=hash_of(file) if file else "",
        content=content,
        environ={name: value for name, value in environ.items() if _is_ours(name)},
    )
    return _absolute(settings, (file.resolve().parent if file else Path.cwd())), origins


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith(ENVIRONMENT_PREFIX) and variable != CONFIG_VARIABLE


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML ({error})") from error


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    tables = {name.upper() for name in Settings.model_fields}
    for variable in environ:
        if variable in (CONFIG_VARIABLE, "CADNODE_SUPERVISED") or not variable.startswith(
            ENVIRONMENT_PREFIX
        ):
            continue
        table = variable.removeprefix(ENVIRONMENT_PREFIX).split("__")[0]
        if table not in tables:
            allowed = ", ".join(sorted(name.lower() for name in tables))
            raise ConfigError(f"{variable}: there is no table {table.lower()!r} ({allowed})")


def _told(content: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The entries of each table that may stand several times: those of its variable, or the file's."""
    told = dict(content)
    for table in Settings.model_fields:
        try:
            told[table] = json.loads(environ[f"{ENVIRONMENT_PREFIX}{table.upper()}"])
        except (KeyError, ValueError):
            continue
    return told


def _first_problem(error: ValidationError, file: Path | None, tables: Mapping[str, Any]) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in problem["loc"]) or "settings"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"there is no such key{_neighbours(problem['loc'])}"
    elif problem["type"] != "missing":
        # A whole table is not repeated: it may be long, and the message names the keys.
        told = problem["loc"] and not isinstance(problem["input"], dict)
        message += f", not {problem['input']!r}" if told else ""
    where = f"{file}: " if file else ""
    return f"{where}{key}: {message}{_entry(problem['loc'], tables)}"


def _entry(location: tuple[int | str, ...], tables: Mapping[str, Any]) -> str:
    """Which entry of a table that may stand several times: people know it by its name."""
    if len(location) < 2 or not isinstance(location[1], int):
        return ""
    try:
        name = name_of(tables[str(location[0])][location[1]])
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""
    return f" (in the entry named {name!r})" if name else ""


def _neighbours(location: tuple[int | str, ...]) -> str:
    table: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = table.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        table = arguments[0] if arguments else annotation
    return f" (allowed: {', '.join(table.model_fields)})"


def _absolute(settings: Settings, base: Path) -> Settings:
    node = settings.node.model_copy(update={"data_dir": (base / settings.node.data_dir).resolve()})
    files = {name: getattr(settings.tls, name) for name in ("certificate", "key", "ca")}
    tls = settings.tls.model_copy(
        update={name: (base / path).resolve() for name, path in files.items() if path}
    )
    folder = settings.model.folder
    folder = (base / folder).resolve() if folder else default_models_folder()
    model = settings.model.model_copy(update={"folder": folder})
    audit = settings.audit
    pems = {name: getattr(audit, name) for name in ("ca", "certificate", "key")}
    audit = audit.model_copy(
        update={name: (base / file).resolve() for name, file in pems.items() if file}
    )
    notify = settings.notify
    secrets = (
        "mail_password_file",
        "mail_ca",
        "webhook_secret_file",
        "webhook_bearer_file",
        "webhook_ca",
    )
    named = {name: getattr(notify, name) for name in secrets}
    notify = notify.model_copy(
        update={name: (base / file).resolve() for name, file in named.items() if file}
    )
    web = settings.web
    kept = {name: getattr(web, name) for name in ("certificate", "key", "oidc_client_secret_file")}
    web = web.model_copy(
        update={name: (base / file).resolve() for name, file in kept.items() if file}
    )
    url = settings.database.url
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        url = f"sqlite:///{(base / url.removeprefix('sqlite:///')).resolve()}"
    database = settings.database.model_copy(update={"url": url})
    places = {name: getattr(settings.storage, name) for name in ("folder", "secret_key_file", "ca")}
    storage = settings.storage.model_copy(
        update={name: (base / path).resolve() for name, path in places.items() if path}
    )
    celery = settings.celery
    if celery.ca is not None:
        celery = celery.model_copy(update={"ca": (base / celery.ca).resolve()})
    return settings.model_copy(
        update={
            "audit": audit,
            "celery": celery,
            "node": node,
            "notify": notify,
            "tls": tls,
            "model": model,
            "database": database,
            "storage": storage,
            "web": web,
        }
    )


def default_models_folder() -> Path:
    """`models/` beside the package: where the bundle we ship lies in a checkout."""
    return Path(__file__).resolve().parents[2] / "models"
