"""The page of the model over this node."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import structlog

from cadnode.app import App, utc_now
from cadnode.config.tables import ModelTable
from cadnode.core.bundle_facts import (
    BundleFacts,
    FileNow,
    GoldenState,
    InstalledBundle,
    LoadedModel,
)
from cadnode.core.curves import FILES, Curves, curves_from
from cadnode.core.drift import DriftVerdict, ScoreReference
from cadnode.core.errors import CadnodeError, IllegalMove, ModelUnfit, NotFound
from cadnode.core.golden import GoldenCheck
from cadnode.core.model import model_label
from cadnode.core.processes import WORK
from cadnode.drifting import bundle_in_force, drift_verdict, make_reference
from cadnode.inference.bundle import MANIFEST, Bundle, files_now, list_bundles, read_bundle
from cadnode.inference.golden import Recomputed, recompute
from cadnode.storage.beats import BeatRecords
from cadnode.storage.golden import GoldenRecords
from cadnode.store import Store

log = structlog.get_logger(__name__)

WEEKS = 26
"""Half a year on one page."""
DRIFT_FRESH = timedelta(minutes=10)
"""Complete weeks hardly change: the verdict is not asked for again within this time."""
FILES_FRESH = timedelta(minutes=1)

Recompute = Callable[[Path, ModelTable], Recomputed]


@dataclass(frozen=True, slots=True)
class _Running:
    since: datetime
    actor: str


class NodeModel:
    """`ModelDesk` of cadnode.web.model.ports."""

    def __init__(
        self,
        app: App,
        store: Store,
        *,
        clock: Callable[[], datetime] = utc_now,
        compute: Recompute = lambda folder, model: recompute(
            folder, runtime=model.runtime, device=model.device, precision=model.precision
        ),
    ) -> None:
        self._app = app
        self._store = store
        self._clock = clock
        self._compute = compute
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._golden = GoldenRecords(store.database)
        self._drift: tuple[datetime, DriftVerdict] | None = None
        self._files: dict[Path, tuple[datetime, tuple[FileNow, ...]]] = {}

    # ---- bundles ---------------------------------------------------------------------------

    def in_force(self) -> BundleFacts:
        """See ModelDesk.in_force."""
        return self._facts(bundle_in_force(self._app), in_force=True)

    def bundle(self, name: str, version: str) -> BundleFacts:
        """See ModelDesk.bundle."""
        folder = self._app.settings.model.folder
        known = {(item.name, item.version): item for item in self.installed()}
        found = known.get((name, version))
        if found is None or folder is None:
            raise NotFound(f"no model {name} {version} is installed")
        return self._facts(read_bundle(folder / name / version), in_force=found.in_force)

    def installed(self) -> Sequence[InstalledBundle]:
        """See ModelDesk.installed."""
        folder = self._app.settings.model.folder
        try:
            mine = bundle_in_force(self._app).folder
        except CadnodeError:
            mine = None
        return [
            InstalledBundle(
                name, version, in_force=folder is not None and mine == folder / name / version
            )
            for name, version in (list_bundles(folder) if folder else [])
        ]

    def loaded(self) -> Sequence[LoadedModel]:
        """See ModelDesk.loaded."""
        try:
            manifest = _sha256(bundle_in_force(self._app).folder / MANIFEST)
        except CadnodeError:
            manifest = ""
        now = self._clock()
        return [
            LoadedModel(
                host=record.host,
                pid=record.pid,
                name=record.facts.model,
                version=record.facts.model_version or "",
                device=record.facts.device or "",
                precision=record.facts.precision or "",
                chosen=record.facts.chosen,
                same_manifest=record.facts.model_sha256 == manifest,
                seen=record.is_seen(now),
            )
            for record in BeatRecords(self._store.database).processes()
            if record.name == WORK and record.facts.model is not None
        ]

    def _facts(self, bundle: Bundle, *, in_force: bool) -> BundleFacts:
        problems: list[str] = []
        checked_at, files = self._files_now(bundle)
        try:
            card = bundle.card()
        except CadnodeError as error:
            card = ""
            problems.append(str(error))
        return BundleFacts(
            spec=bundle.spec,
            in_force=in_force,
            manifest=bundle.manifest,
            manifest_sha256=_sha256(bundle.folder / MANIFEST),
            card=card,
            files=files,
            checked_at=checked_at,
            curves=tuple(_curves(bundle, problems)),
            problems=tuple(problems),
        )

    def _files_now(self, bundle: Bundle) -> tuple[datetime, tuple[FileNow, ...]]:
        now = self._clock()
        known = self._files.get(bundle.folder)
        if known is None or not timedelta(0) <= now - known[0] < FILES_FRESH:
            known = (now, tuple(files_now(bundle)))
            self._files[bundle.folder] = known
        return known

    # ---- drift -----------------------------------------------------------------------------

    def drift(self) -> DriftVerdict:
        """See ModelDesk.drift."""
        now = self._clock()
        with self._lock:
            known = self._drift
        if known is None or not timedelta(0) <= now - known[0] < DRIFT_FRESH:
            known = (now, drift_verdict(self._app, self._store, now=now, weeks=WEEKS))
            with self._lock:
                self._drift = known
        return known[1]

    def make_reference(
        self, first: date | None, last: date | None, *, note: str, replace: bool, actor: str
    ) -> ScoreReference:
        """See ModelDesk.make_reference."""
        kept = make_reference(
            self._app,
            self._store,
            first=first,
            last=last,
            note="; ".join(part for part in (note.strip(), f"made by {actor}") if part),
            replace=replace,
            now=self._clock(),
        )
        with self._lock:
            self._drift = None
        log.info("reference made", model=kept.reference.model, exams=kept.reference.exams)
        return kept.reference

    # ---- the golden example ----------------------------------------------------------------

    def golden(self) -> GoldenState:
        """See ModelDesk.golden."""
        checks = tuple(self._golden.newest())
        with self._lock:
            running = self._running
        if running is None:
            return GoldenState(None, "", checks)
        return GoldenState(running.since, running.actor, checks)

    def check_golden(self, actor: str) -> GoldenState:
        """See ModelDesk.check_golden."""
        bundle = bundle_in_force(self._app)
        running = _Running(self._clock(), actor)
        with self._lock:
            if self._running is not None:
                raise IllegalMove(f"a check is running already, for {self._running.actor}")
            self._running = running
        threading.Thread(
            target=self._check, args=(bundle, running), name="golden", daemon=True
        ).start()
        return self.golden()

    def _check(self, bundle: Bundle, running: _Running) -> None:
        model = self._app.settings.model
        try:
            found = self._compute(bundle.folder, model)
            self._golden.add(
                GoldenCheck(
                    at=running.since,
                    actor=running.actor,
                    model=model_label(bundle.spec),
                    well=found.well,
                    difference=found.difference,
                    text=found.text,
                    seconds=(self._clock() - running.since).total_seconds(),
                )
            )
        except CadnodeError as error:
            log.error("a golden check could not be kept", detail=str(error))
        finally:
            with self._lock:
                self._running = None


def _curves(bundle: Bundle, problems: list[str]) -> Sequence[Curves]:
    found = []
    for name in bundle.hashes:
        if not name.startswith(FILES):
            continue
        try:
            found.append(curves_from(json.loads((bundle.folder / name).read_text("utf-8"))))
        except (OSError, ValueError) as error:
            problems.append(f"{name}: {error}")
    return found


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelUnfit(f"{path}: {error.strerror}") from error
