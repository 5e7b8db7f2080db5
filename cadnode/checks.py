"""`cadnode check`: is everything there that the node needs, before the first exam comes?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from cadnode.app import RESULT_CLASSES, App
from cadnode.core.errors import CadnodeError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    well: bool | None
    """None: worth knowing, neither good nor bad."""
    detail: str


def run_checks(app: App) -> Iterator[Check]:
    """Each check as it is done; none of them changes anything."""
    settings = app.settings
    yield Check("settings", True, f"AE title {settings.node.ae_title}, port {settings.node.port}")
    if settings.node.accept_unknown:
        yield Check("senders", None, "every calling AE title is accepted (accept_unknown)")
    elif not settings.peers:
        yield Check("senders", False, "[[peers]] is empty: nobody may send")
    else:
        yield Check("senders", True, ", ".join(peer.ae_title for peer in settings.peers))
    yield _database(app)
    yield _disk(app)
    yield _model(app)
    if not settings.destinations:
        yield Check("destinations", None, "[[destinations]] is empty: results stay on this disk")
    for destination in settings.destinations:
        if destination.enabled:
            yield _destination(app, destination.name)
        else:
            yield Check(f"destination {destination.name}", None, "not enabled")


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


def _disk(app: App) -> Check:
    folder = app.settings.node.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_mb = shutil.disk_usage(existing).free >> 20
    reserve = app.settings.retention.reserve_mb
    return Check(
        "disk", free_mb > reserve, f"{free_mb} MB free at {folder}, {reserve} MB kept free"
    )


def _model(app: App) -> Check:
    from cadnode.inference.bundle import verify_golden

    try:
        classifier = app.classifier()
        worst = verify_golden(app.bundle(), classifier)
    except CadnodeError as error:
        return Check("model", False, str(error))
    spec = classifier.spec
    return Check(
        "model",
        True,
        f"{spec.name} {spec.version}: hashes right, golden example within {worst:.1e}",
    )


def _destination(app: App, name: str) -> Check:
    destination = app.settings.destination(name)
    wanted = {kind: RESULT_CLASSES[kind] for kind in destination.objects}
    answer = app.sender(destination).check(tuple(wanted.values()))
    refused = [kind for kind, uid in wanted.items() if not answer.accepted.get(uid)]
    title = f"destination {name}"
    if not answer.reachable:
        return Check(title, False, f"no answer to C-ECHO: {answer.detail}")
    if refused:
        return Check(title, False, f"answers, but does not accept {', '.join(refused)}")
    return Check(title, True, f"answers and accepts {', '.join(wanted)}")
