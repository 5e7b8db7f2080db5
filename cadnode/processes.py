"""The long-running processes: `receive`, `work`, `web`, and `serve`, which runs them all."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from cadnode.app import App, lease_owner, once, utc_now
from cadnode.bell import Bell
from cadnode.children import celery_programs, programs
from cadnode.config import Settings
from cadnode.core.audit import ApplicationStarted, ApplicationStopped
from cadnode.core.errors import CadnodeError, ConfigError
from cadnode.core.metrics import PROCESS_RESTARTS, begin
from cadnode.core.ports import Classifier
from cadnode.core.processes import HOUSEKEEPING, LANES
from cadnode.doorbell import Listener
from cadnode.heartbeat import Vitals, moved, open_heart
from cadnode.housekeeping import Housekeeping
from cadnode.places import Place, clear_up, number_of, take_place
from cadnode.starting import open_store
from cadnode.supervisor import (
    SETTINGS_STATUS,
    SUPERVISED,
    Program,
    Supervisor,
    stop_with_supervisor,
)
from cadnode.worker import AnalysisLane, Lane, run_lane

if TYPE_CHECKING:
    from cadnode.dimse.scp import StorageScp

log = structlog.get_logger(__name__)

STOP_SECONDS = 10.0
"""A step is finished or handed back within this time after SIGTERM."""

WEB_STOP_SECONDS = 3.0
"""For a message that is on its way to a person; it is sent again otherwise."""


def receive(app: App) -> None:
    """Answer C-ECHO and C-STORE until SIGTERM."""
    _keep_private()
    stopping = _stop_on_signals()
    app.open_audit("receive")
    app.open_metrics("receive")
    app.give_hints()
    store = open_store(app, stopping)
    spool = app.spool()
    app.open_doorbell()
    node = app.settings.node
    incoming, locks = spool.incoming_dir, node.data_dir / "locks"
    with take_place(
        incoming, locks, node.receivers, number_of(os.environ.get(SUPERVISED, ""))
    ) as place:
        scp = app.storage_scp(store.exams, spool, place.folder)
        scp.start()
        clear_up(incoming, locks, node.receivers)
        heart = open_heart(app, store, "receive")
        app.audit.record(ApplicationStarted("receive", os.getpid()))
        # What there is by now stays: to look through it for garbage again and again costs a sender
        # milliseconds each time.
        gc.freeze()
        _say_receiving(app.settings, scp, place)
        stopping.wait()
        scp.stop()
        heart.stop()
    store.close()
    app.audit.record(ApplicationStopped("receive", os.getpid()))
    app.audit.close()
    log.info("stopped", process="receive")


def _say_receiving(settings: Settings, scp: StorageScp, place: Place) -> None:
    node = settings.node
    facts = {"port": scp.port} if node.plain else {}
    if scp.tls_port is not None:
        facts["tls_port"] = scp.tls_port
    if node.receivers > 1:
        facts["receiver"] = place.number
    log.info("receiving", ae_title=node.ae_title, host=node.host, **facts)
    if node.accept_unknown:
        log.warning("every sender is accepted: [node] accept_unknown is for test set-ups")
    elif not settings.peers:
        log.warning("no sender is accepted: [[peers]] is empty")


def work(
    app: App, device: str = "", chosen: Sequence[str] = LANES, *, hinted: bool = False
) -> None:
    """Analyze, report, deliver and keep house until SIGTERM, or what is `chosen` of it.

    `device` is what the model runs on, as an entry of `[work] devices`; empty: as `[model]` says.
    `hinted`: analyze and deliver when a message of the broker says that there is something to do.
    """
    from cadnode.lanes import work_lanes

    _keep_private()
    if device:
        app.use_device(device)
    stopping = _stop_on_signals()
    app.open_audit("work")
    app.open_metrics("work")
    app.give_hints()
    store = open_store(app, stopping)
    spool = app.spool()
    app.open_doorbell()
    images, results = Bell(), Bell()
    vitals = Vitals(app, drift=lambda: moved(app, store), lanes=chosen)
    classifier = once(vitals.classifier)
    pipeline = app.pipeline(store.exams, spool, classifier=classifier)
    house = Housekeeping(app, store, spool, wanted=HOUSEKEEPING in chosen)
    house.start()
    lanes = work_lanes(
        app,
        store,
        spool,
        pipeline,
        chosen,
        hinted=hinted,
        results=results,
        set_back=house.run_all_now,
        stopping=stopping,
    )
    bells = dict.fromkeys([lane.name for lane in lanes.deliveries], results)
    threads = _threads(
        lanes.all, app, stopping, bells | {AnalysisLane.name: images}, lanes.patience
    )
    threads += lanes.taking
    loading = threading.Thread(target=_load, args=(classifier,), name="loading", daemon=True)
    listener = Listener(app.settings.node.data_dir, images)
    listener.start()
    for thread in (*threads, *([loading] if lanes.analysis else [])):
        thread.start()
    heart = open_heart(app, store, "work", vitals)
    app.audit.record(ApplicationStarted("work", os.getpid()))
    log.info("working", lanes=[lane.name for lane in lanes.all], owner=lanes.owner, hinted=hinted)
    stopping.wait()
    listener.close()
    lanes.stop()
    for bell in (images, results):
        bell.ring()
    house.stop()
    deadline = time.monotonic() + STOP_SECONDS - 1
    unfinished = _unfinished(threads, deadline)
    app.audit.record(ApplicationStopped("work", os.getpid()))
    app.audit.close(max(0.5, deadline - time.monotonic()))
    heart.stop()
    if unfinished:
        # A peer that hangs cannot be interrupted; the leases run out.
        log.warning("stopped in mid-step", lanes=unfinished)
        lanes.hand_back()
        store.hints.close()
    else:
        store.close()
        log.info("stopped", process="work")
    if unfinished or loading.is_alive() or house.busy:
        # Nor can loading the model, or a purge that waits for an object store: what they have not
        # done by now is done after the next start.
        sys.stderr.flush()
        os._exit(0)


def web(app: App) -> None:
    """Answer browsers and programs until SIGTERM. Raises PortTaken."""
    from cadnode.console import open_console
    from cadnode.console.tls import web_tls
    from cadnode.notifying import notice_lanes
    from cadnode.web.server import create_app
    from cadnode.web.serving import WebServer, WebSettings

    _keep_private()
    stopping = _stop_on_signals()
    app.open_audit("web")
    app.open_metrics("web")
    store = open_store(app, stopping)
    table = app.settings.web
    console = open_console(app, store)
    server = WebServer(
        create_app(console),
        WebSettings(table.host, table.port, web_tls(app.settings)),
    )
    server.start()
    heart = open_heart(app, store, "web")
    # Here too: whoever is to tell that `work` is not seen must not live in it.
    telling = _threads(notice_lanes(app, store, owner=lease_owner(), clock=utc_now), app, stopping)
    for thread in telling:
        thread.start()
    app.audit.record(ApplicationStarted("web", os.getpid()))
    scheme = "https" if table.tls else "http"
    log.info("the console is up", url=f"{scheme}://{table.host}:{server.port}/")
    if console.access.open_to_localhost():
        log.warning(
            "nobody signs in yet: whoever sits at this machine is admin of the console"
            " (cadnode users add NAME --role admin)"
        )
    if table.allow_plain:
        log.warning("passwords may go over the network in clear: [web] allow_plain is for tests")
    stopping.wait()
    server.stop()
    heart.stop()
    deadline = time.monotonic() + WEB_STOP_SECONDS
    for thread in telling:
        thread.join(max(0.0, deadline - time.monotonic()))
    store.close()
    app.audit.record(ApplicationStopped("web", os.getpid()))
    app.audit.close()
    log.info("stopped", process="web")


def serve(app: App, config: Path | None) -> None:
    """Run `receive`, `work` and `web`, start one that dies again, stop all on SIGTERM."""
    open_store(app, threading.Event()).close()
    app.forget_metrics()
    app.open_metrics("serve")
    _supervise(app, programs(app.settings, config))


def celery_worker(
    app: App, config: Path | None, lane: str, *, device: str = "", concurrency: int = 1
) -> None:
    """Analyze or deliver when a message of the broker says so, until SIGTERM.

    With `all` lanes, and more than one that analyzes, a process for each: one message at a time,
    so that an exam being read holds up no delivery. Raises ConfigError without a broker.
    """
    if not app.settings.celery.enabled:
        raise ConfigError("celery.enabled: false; `cadnode work` needs no broker")
    wanted = celery_programs(lane, device, concurrency, config)
    if len(wanted) == 1:
        work(app, device, (lane,), hinted=True)
        return
    app.open_metrics("celery-worker")
    _supervise(app, wanted)


def _supervise(app: App, wanted: Sequence[Program]) -> None:
    """Keep these running until SIGTERM; exit when the settings of one do not hold."""
    for program in wanted:
        begin(app.metrics, PROCESS_RESTARTS, program.kind)
    supervisor = Supervisor(wanted, died=lambda kind: app.metrics.add(PROCESS_RESTARTS, kind))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    if not supervisor.run():
        sys.exit(SETTINGS_STATUS)


def _threads(
    lanes: Sequence[Lane],
    app: App,
    stopping: threading.Event,
    bells: Mapping[str, Bell] = MappingProxyType({}),
    patience: Mapping[str, float] = MappingProxyType({}),
) -> list[threading.Thread]:
    """A thread for each lane; `bells` wake some of them, by name, and some have the `patience` to
    wait so many seconds before they look again."""
    poll_seconds = app.settings.work.poll_seconds
    return [
        threading.Thread(
            target=run_lane,
            args=(lane,),
            kwargs={
                "stopping": stopping,
                "poll_seconds": patience.get(lane.name, poll_seconds),
                "bell": bells.get(lane.name),
            },
            name=lane.name,
            daemon=True,
        )
        for lane in lanes
    ]


def _unfinished(threads: Sequence[threading.Thread], deadline: float) -> Sequence[str]:
    """The names of those that have not ended by `deadline` (monotonic seconds)."""
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in threads if thread.is_alive()]


def _load(classifier: Callable[[], Classifier]) -> None:
    """Load what takes long before the first image comes, so that no exam waits for it."""
    from cadnode.dicom.object_header import read_tables

    read_tables()
    try:
        loaded = classifier()
    except CadnodeError as error:
        log.error("the model is unfit; exams will wait", detail=str(error))
    else:
        spec, on = loaded.spec, loaded.runs_on
        log.info("the model is ready", model=spec.name, version=spec.version, on=on.text)


def _keep_private() -> None:
    """What this process writes is for its own user, and a crash leaves no picture of its memory."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    stop_with_supervisor()
    return stopping
