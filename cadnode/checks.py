"""`cadnode check`: is everything there that the node needs, before the first exam comes?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cadnode.app import App, utc_now
from cadnode.config import Settings
from cadnode.config.tables import DestinationTable, NotifyTable, SourceTable
from cadnode.core.errors import CadnodeError, ConfigError
from cadnode.result_parts import RESULT_CLASSES
from cadnode.storage.clock import SLACK
from cadnode.storage.disk import disk_of

WARN_DAYS = 30
"""A certificate that expires sooner is worth a note."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    well: bool | None
    """None: worth knowing, neither good nor bad."""
    detail: str


def run_checks(app: App) -> Iterator[Check]:
    """Each check as it is done; none of them leaves anything behind."""
    settings = app.settings
    yield Check("settings", True, f"AE title {settings.node.ae_title}, {_ports(settings)}")
    if settings.node.accept_unknown:
        yield Check("senders", None, "every calling AE title is accepted (accept_unknown)")
    elif not settings.peers:
        # A node may live on what it fetches.
        well = None if settings.sources else False
        yield Check("senders", well, "[[peers]] is empty: nobody may send")
    else:
        yield Check("senders", True, ", ".join(peer.ae_title for peer in settings.peers))
    if settings.tls.complete:
        yield from _certificate(app)
    yield _database(app)
    yield from _clock(app)
    if settings.celery.enabled:
        yield _broker(app)
    yield _disk(app)
    if settings.storage.url or settings.storage.folder:
        yield Check("storage", *storage_check(app))
    yield _model(app)
    yield from _others(app)
    yield from waiting_nowhere(app)
    if settings.audit.host:
        yield _audit(app)
    if settings.notify.mail_host or settings.notify.webhook_url:
        yield _notify(settings.notify)


def _others(app: App) -> Iterator[Check]:
    settings = app.settings
    if not settings.destinations:
        yield Check("destinations", None, "[[destinations]] is empty: results stay on this disk")
    for destination in settings.destinations:
        title = f"destination {destination.name}"
        if destination.enabled:
            yield _destination(app, destination.name)
            yield from _their_certificate(app, title, destination)
        else:
            yield Check(title, None, "not enabled")
    for source in settings.sources:
        yield _source(app, source)
        yield from _their_certificate(app, f"source {source.name}", source)


def _certificate(app: App) -> Iterator[Check]:
    from cadnode.dimse.tls_check import own_certificate
    from cadnode.network import tls_files

    try:
        found = own_certificate(tls_files(app.settings))
    except CadnodeError as error:
        yield Check("tls", False, str(error))
        return
    yield _expiry("tls", "the node's certificate", found.expires)
    ours = {socket.gethostname(), socket.getfqdn(), app.settings.node.host}
    if not ours & set(found.names):
        names = ", ".join(found.names) or "no host name at all"
        detail = f"the certificate is for {names}; peers that check it must reach the node so"
        yield Check("tls name", None, detail)
    if app.settings.tls.listen and not app.settings.tls.require_client_certificate:
        yield Check("tls senders", None, "no certificate is asked of them")


def _ports(settings: Settings) -> str:
    ports = [f"port {settings.node.port}"] if settings.node.plain else []
    ports += [f"TLS port {settings.tls.port}"] if settings.tls.listen else []
    return ", ".join(ports)


def _expiry(name: str, whose: str, expires: datetime) -> Check:
    days = (expires - utc_now()).days
    if days < WARN_DAYS:
        return Check(name, None, f"{whose} expires in {days} days: renew it")
    return Check(name, True, f"{whose} holds until {expires:%Y-%m-%d}")


def _database(app: App) -> Check:
    try:
        store = app.open_store()
        try:
            exams = sum(store.records.counts().values())
            name = store.database.name
        finally:
            store.close()
    except CadnodeError as error:
        if (
            not (app.settings.node.data_dir / "cadnode.db").exists()
            and not app.settings.database.url
        ):
            return Check("database", None, "not there yet: the node makes it at its first start")
        return Check("database", False, str(error))
    return Check("database", True, f"{name}, {exams} exam{'' if exams == 1 else 's'}")


def _clock(app: App) -> Iterator[Check]:
    """Machines that share a database compare its times each with a clock of their own."""
    try:
        store = app.open_store()
        try:
            ahead = store.database.ahead_by(utc_now)
        finally:
            store.close()
    except CadnodeError:
        return
    if ahead is None:
        return
    off = abs(ahead)
    side = "ahead of" if ahead > timedelta(0) else "behind"
    said = f"this machine's clock is {off.total_seconds():.1f} s {side} that of the database server"
    if off > SLACK:
        said += ": let every machine follow one NTP server, or work is taken from who is doing it"
    yield Check("clock", off <= SLACK, said)


def waiting_nowhere(app: App) -> Iterator[Check]:
    """What waits for a destination that the settings no longer name, or do not enable."""
    enabled = {destination.name for destination in app.settings.destinations if destination.enabled}
    try:
        store = app.open_store()
        try:
            records = store.lines.destinations(())
        finally:
            store.close()
    except CadnodeError:
        # `database` has said what is wrong.
        return
    for record in records:
        if (record.waiting or record.unproved) and record.name not in enabled:
            proofs = f", {record.unproved} for its proof" if record.unproved else ""
            yield Check(
                f"destination {record.name}",
                None,
                f"{record.waiting} result objects wait for it{proofs}, "
                "but the settings do not enable it: "
                f'enable it, or cadnode destinations drop {record.name} --why "..."',
            )


def _disk(app: App) -> Check:
    folder = app.settings.files_dir
    disk = disk_of(folder)
    if disk.problem:
        key = "storage.folder" if app.settings.storage.folder else "data_dir"
        return Check("disk", False, f"{key}: {disk.problem}")
    free_mb = disk.free >> 20
    reserve = app.settings.retention.reserve_mb
    return Check(
        "disk", free_mb > reserve, f"{free_mb} MB free at {folder}, {reserve} MB kept free"
    )


def storage_check(app: App) -> tuple[bool, str]:
    """Whether images and results can be kept where other machines find them, and what was tried."""
    from cadnode.spool_parts import try_storage

    try:
        return True, try_storage(app.settings)
    except CadnodeError as error:
        return False, str(error)


def _broker(app: App) -> Check:
    from cadnode.hint_parts import broker_of

    try:
        broker = broker_of(app.settings)
        where = broker.reach()
        broker.close()
    except CadnodeError as error:
        return Check("broker", False, str(error))
    return Check("broker", True, f"{where} answers")


def _model(app: App) -> Check:
    from cadnode.inference.bundle import verify_golden

    try:
        classifier = app.classifier()
        worst = verify_golden(app.bundle(), classifier)
    except CadnodeError as error:
        return Check("model", False, str(error))
    spec, on = classifier.spec, classifier.runs_on
    return Check(
        "model",
        True,
        f"{spec.name} {spec.version}: hashes right, golden example within {worst:.1e}, on {on.text}",
    )


def _their_certificate(
    app: App, title: str, table: DestinationTable | SourceTable
) -> Iterator[Check]:
    from cadnode.dimse.tls_check import shown_by
    from cadnode.network import destination_of

    expires = shown_by(destination_of(app.settings, table))
    if expires is not None:
        yield _expiry(f"{title} tls", "its certificate", expires)


def _source(app: App, source: SourceTable) -> Check:
    from cadnode.dimse.find import STUDY_ROOT_FIND
    from cadnode.dimse.scu import DicomSender
    from cadnode.dimse.sub_operations import STUDY_ROOT_GET, STUDY_ROOT_MOVE

    retrieve = STUDY_ROOT_GET if source.retrieve == "get" else STUDY_ROOT_MOVE
    services = {"C-FIND": STUDY_ROOT_FIND, f"C-{source.retrieve.upper()}": retrieve}
    sender = DicomSender(app.source(source), app.settings.node.ae_title)
    answer = sender.check(tuple(services.values()))
    refused = [name for name, uid in services.items() if not answer.accepted.get(uid)]
    title = f"source {source.name}"
    if not answer.reachable:
        return Check(title, False, f"no answer to C-ECHO: {answer.detail}")
    if refused:
        return Check(title, False, f"answers, but does not take {', '.join(refused)}")
    return Check(title, True, f"answers and takes {', '.join(services)}")


def _notify(table: NotifyTable) -> Check:
    secrets = (table.mail_password_file, table.webhook_secret_file, table.webhook_bearer_file)
    open_to_others = False
    for file in (*secrets, table.mail_ca, table.webhook_ca):
        if file is None:
            continue
        try:
            file.read_bytes()
            open_to_others |= file in secrets and bool(file.stat().st_mode & 0o077)
        except OSError as error:
            return Check("notify", False, f"{file}: {error.strerror or type(error).__name__}")
    ways = [f"mail to {', '.join(table.mail_to)}"] if table.mail_host else []
    ways += ["a webhook"] if table.webhook_url else []
    told = f"{' and '.join(ways)}; `cadnode notify test` sends a message"
    if open_to_others:
        return Check("notify", None, f"{told}; a secret of it can be read by others: chmod 600")
    return Check("notify", True, told)


def _audit(app: App) -> Check:
    audit = app.settings.audit
    where = f"{audit.host} by {audit.transport}"
    try:
        transport = app.audit_transport()
        transport.connect()
    except ConfigError as error:
        return Check("audit", False, error.detail)
    except OSError as error:
        return Check("audit", False, f"{where}: {error.strerror or type(error).__name__}")
    transport.close()
    if audit.transport == "udp":
        return Check("audit", None, f"{where}: in clear, and nobody answers by udp")
    return Check("audit", True, f"{where} answers")


def _destination(app: App, name: str) -> Check:
    from cadnode.dimse.commitment_messages import STORAGE_COMMITMENT
    from cadnode.dimse.find import STUDY_ROOT_FIND

    destination = app.settings.destination(name)
    wanted = {kind: RESULT_CLASSES[kind] for kind in destination.objects}
    answer = app.sender(destination).check((*wanted.values(), STORAGE_COMMITMENT, STUDY_ROOT_FIND))
    refused = [kind for kind, uid in wanted.items() if not answer.accepted.get(uid)]
    title = f"destination {name}"
    if not answer.reachable:
        return Check(title, False, f"no answer to C-ECHO: {answer.detail}")
    if refused:
        return Check(title, False, f"answers, but does not accept {', '.join(refused)}")
    well, proves = _proof(
        destination.commitment,
        commits=answer.accepted.get(STORAGE_COMMITMENT, False),
        finds=answer.accepted.get(STUDY_ROOT_FIND, False),
        reported=app.settings.tls.listen if destination.tls else app.settings.node.plain,
    )
    return Check(title, well, f"answers and accepts {', '.join(wanted)}; {proves}")


def _proof(wish: str, *, commits: bool, finds: bool, reported: bool) -> tuple[bool | None, str]:
    """How a destination proves what it holds, and whether that is what the site wants."""
    offers = "commits" if commits else "does not offer storage commitment"
    if wish == "off":
        return True, f"{offers}, is not asked to (commitment = off)"
    if commits and not reported:
        which = "[tls] listen and [node] plain"
        return None, f"{offers}, but we do not listen where its report would come: {which}"
    if wish == "require" or commits:
        return commits, f"{offers} (its report has to reach our port)" if commits else offers
    if finds:
        return True, f"{offers}; what it holds is looked up with C-FIND"
    return None, f"{offers} nor C-FIND: nothing proves what it holds"
