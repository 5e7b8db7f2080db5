"""The composition root: the only module that knows every concrete class.

Parts are imported where they are built, not at the top: `cadnode jobs list` shall answer at once,
and the receiver shall never load what only the worker needs.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from cadnode import result_parts
from cadnode.config import Settings
from cadnode.config.origin import Origins
from cadnode.config.tables import DestinationTable, SourceTable
from cadnode.core.audit import AuditTrail, NodeRefused, NoTrail, Party
from cadnode.core.errors import ConfigError
from cadnode.core.hints import Hints, NoHints
from cadnode.core.metrics import OTHER, Metrics, NoMetrics
from cadnode.core.uids import derive_uid
from cadnode.receiving import keep
from cadnode.spool_parts import open_spool
from cadnode.store import Store, open_store

if TYPE_CHECKING:
    from cadnode.audit.syslog import Transport
    from cadnode.core.exam import ExamRules
    from cadnode.core.file_ports import NodeFiles
    from cadnode.core.ports import (
        Classifier,
        ExamStore,
        MammogramReader,
        OutputBuilder,
        ResultFiles,
        Sender,
    )
    from cadnode.dicom.object_header import Equipment
    from cadnode.dimse.destination import Destination
    from cadnode.dimse.scp import StorageScp
    from cadnode.inference.bundle import Bundle
    from cadnode.pipeline import Pipeline, Rules
    from cadnode.storage.database import Database

log = structlog.get_logger(__name__)

MANUFACTURER = "cadnode project"


def utc_now() -> datetime:
    """The clock of the running node."""
    return datetime.now(UTC)


class App:
    """Builds the parts of the node from its settings, each one when it is first asked for."""

    def __init__(self, settings: Settings, origins: Origins | None = None) -> None:
        """`origins` say where the settings came from; without them all count as defaults."""
        self.settings = settings
        self.origins = origins or Origins()
        self.audit: AuditTrail = NoTrail()
        self.metrics: Metrics = NoMetrics()
        self.announce: Callable[[], None] = lambda: None
        """Tells the workers of this machine that an image has come."""
        self.hints: Hints = NoHints()
        self._hinting = False
        self.device = ""
        """What this process was told to compute on: "cpu" or a GPU's number; empty: `[model]`."""

    # ---- values ----------------------------------------------------------------------------

    @functools.cached_property
    def equipment(self) -> Equipment:
        """How this device names itself in its objects."""
        from tzlocal import get_localzone

        from cadnode.dicom.object_header import Equipment

        node = self.settings.node
        return Equipment(
            station_name=node.station_name,
            device_uid=derive_uid("device", node.ae_title, node.station_name),
            manufacturer=MANUFACTURER,
            time_zone=get_localzone(),
        )

    def rules(self, exam: ExamRules | None = None) -> Rules:
        """What the site decided about exams and deliveries."""
        from cadnode.pipeline import Rules

        settings = self.settings
        return Rules(
            exam=exam or settings.exam_rules,
            analyzed_views=frozenset(settings.exam.analyzed_views),
            retry=settings.retry_rules,
            max_tries=settings.work.max_tries,
            destinations={d.name: d.objects for d in settings.destinations if d.enabled},
            proof_after={
                d.name: settings.proof_rules.delay
                for d in settings.destinations
                if d.commitment != "off"
            },
        )

    # ---- audit trail -----------------------------------------------------------------------

    @property
    def party(self) -> Party:
        """How this node is named in audit messages."""
        return Party(self.settings.node.ae_title, socket.gethostname())

    def audit_transport(self) -> Transport:
        """The way to the audit repository, not used yet. Raises ConfigError as `open_audit`."""
        from cadnode.audit_parts import audit_transport

        return audit_transport(self.settings)

    def open_audit(self, process: str) -> None:
        """From now on report to the audit repository that the settings name, if they name one.

        `process` says which of our processes reports. Raises ConfigError when a certificate that
        the settings name cannot be used.
        """
        if self.settings.audit.host:
            from cadnode.audit_parts import audit_trail

            self.audit = audit_trail(self.settings, self.party, process=process, clock=utc_now)

    # ---- metrics ---------------------------------------------------------------------------

    @property
    def metrics_folder(self) -> Path:
        """Where each process keeps what it counts."""
        return self.settings.node.data_dir / "metrics"

    def open_metrics(self, process: str) -> None:
        """From now on count and time what happens in this process, called `process`."""
        from cadnode.metrics.recording import Recording

        try:
            self.metrics = Recording(self.metrics_folder, process)
        except OSError as error:
            # Work goes on uncounted.
            log.error("nothing is counted", process=process, detail=error.strerror or str(error))

    def sender_label(self, calling_ae: str) -> str:
        """How a sender is called in numbers: by its AE title where the settings name it."""
        settings = self.settings
        known = {peer.ae_title for peer in settings.peers}
        known |= {source.ae_title for source in settings.sources}
        return calling_ae if calling_ae in known else OTHER

    def forget_metrics(self) -> None:
        """Count from zero: the node starts. What runs already goes on counting."""
        from cadnode.metrics.slots import forget

        try:
            forget(self.metrics_folder)
        except OSError as error:
            log.warning("old counts stay", detail=error.strerror or str(error))

    # ---- storage ---------------------------------------------------------------------------

    def open_doorbell(self) -> None:
        """From now on wake the workers of this machine when an image has come."""
        from cadnode.doorbell import Doorbell

        self.announce = Doorbell(self.settings.node.data_dir).ring

    def open_store(self, *, create: bool = False, url: str | None = None) -> Store:
        """The job database; `create` makes it or brings it to this version's schema, and
        forgets the identifiers of patients when the site keeps none (any more).

        Raises DatabaseUnavailable when it is not there or has another schema.
        """
        return open_store(
            url or self.settings.database_url,
            create=create,
            keep_identifiers=self.settings.node.keep_identifiers,
            hints=self._open_hints if self._hinting else None,
        )

    def give_hints(self) -> None:
        """From now on tell the message broker, if there is one, what each commit has made due.

        Raises ConfigError when Celery is not installed.
        """
        self._hinting = self.settings.celery.enabled

    def _open_hints(self, database: Database) -> Hints:
        from cadnode.hint_parts import open_hints

        self.hints = open_hints(self.settings, database, self.metrics, utc_now)
        return self.hints

    def spool(self, *, make: bool = True) -> NodeFiles:
        """The files of the node, see `spool_parts.open_spool`."""
        return open_spool(self.settings, make=make)

    # ---- analysis --------------------------------------------------------------------------

    def reader(self) -> MammogramReader:
        """Reads stored images."""
        from cadnode.dicom.reader import DicomReader, ReadLimits
        from cadnode.metrics.ports import MeteredReader

        work = self.settings.work
        reader = DicomReader(
            ReadLimits(
                max_pixels=work.max_pixels,
                decode_seconds=work.decode_seconds,
                decode_bytes=work.decode_memory_mb << 20,
            )
        )
        return MeteredReader(reader, self.metrics)

    def bundle(self) -> Bundle:
        """The model bundle the settings name, its hashes checked. Raises ModelUnfit."""
        from cadnode.inference.bundle import find_bundle

        model = self.settings.model
        if model.folder is None:
            raise ConfigError("model.folder: not set")
        return find_bundle(model.folder, model.name, model.version)

    def use_device(self, device: str) -> None:
        """From now on compute on "cpu" or on the GPU with this number, and see no other one.

        To be called before any model is loaded: CUDA looks once which GPUs there are.
        """
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1" if device == "cpu" else device
        # The numbers are those of nvidia-smi, and the memory has room for a second worker.
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        self.device = device

    def classifier(
        self, note: Callable[[int, float], None] = lambda patches, seconds: None
    ) -> Classifier:
        """The model, loaded; `note` is told of each call how many patches took how many seconds.

        Takes seconds. Raises ModelUnfit.
        """
        from cadnode.inference.runtime import load_classifier
        from cadnode.metrics.ports import MeteredClassifier

        model = self.settings.model
        told = {"": model.device, "cpu": "cpu"}.get(self.device, "gpu")
        loaded = load_classifier(
            self.bundle(), runtime=model.runtime, device=told, precision=model.precision
        )
        return MeteredClassifier(loaded, self.metrics, note)

    def builders(self, reader: MammogramReader | None = None) -> list[OutputBuilder]:
        """One builder for each kind of result object; `reader` gets the pixels of pictures."""
        return result_parts.builders(self.equipment, reader or self.reader())

    def wanted_kinds(self) -> frozenset[str]:
        """The kinds of object that are made: the reports always, others where they go somewhere."""
        return result_parts.wanted_kinds(self.settings)

    def pipeline(
        self,
        store: ExamStore,
        files: ResultFiles,
        *,
        classifier: Callable[[], Classifier] | None = None,
        senders: Mapping[str, Sender] | None = None,
        exam_rules: ExamRules | None = None,
        kinds: Collection[str] | None = None,
    ) -> Pipeline:
        """The steps of an exam over the given store and files; `kinds` are those of the objects
        made, by default `wanted_kinds`."""
        from cadnode.metrics.ports import MeteredBuilder
        from cadnode.pipeline import Pipeline

        made = self.wanted_kinds() if kinds is None else kinds
        reader = self.reader()
        return Pipeline(
            store=store,
            files=files,
            reader=reader,
            classifier=classifier or once(self.classifier),
            builders=[
                MeteredBuilder(builder, self.metrics)
                for builder in self.builders(reader)
                if builder.kind in made
            ],
            senders=self.senders() if senders is None else senders,
            rules=self.rules(exam_rules),
            manufacturer=MANUFACTURER,
            clock=utc_now,
            metrics=self.metrics,
        )

    # ---- network ---------------------------------------------------------------------------

    def senders(self) -> dict[str, Sender]:
        """One sender for each enabled destination."""
        return {d.name: self.sender(d) for d in self.settings.destinations if d.enabled}

    def sender(self, destination: DestinationTable) -> Sender:
        """The way to one destination."""
        from cadnode.audit.sending import AuditedSender
        from cadnode.dimse.scu import DicomSender, Timeouts
        from cadnode.metrics.ports import MeteredSender
        from cadnode.network import destination_of

        sender = DicomSender(
            destination_of(self.settings, destination),
            self.settings.node.ae_title,
            Timeouts(delivery=self.settings.delivery.deadline_seconds),
        )
        party = Party(destination.ae_title, destination.host)
        audited = AuditedSender(sender, self.audit, own=self.party, destination=party)
        return MeteredSender(audited, destination.name, self.metrics)

    def wanted_objects(self, destination: str | None = None) -> Mapping[str, Sequence[str]]:
        """The kinds of result objects that an enabled destination wants, or each of them, by name.

        Raises ConfigError when there is none of that name, or none at all.
        """
        wanted = {
            d.name: d.objects
            for d in self.settings.destinations
            if d.enabled and destination in (None, d.name)
        }
        if not wanted:
            names = ", ".join(d.name for d in self.settings.destinations if d.enabled)
            raise ConfigError(f"destinations: enabled are {names or 'none'}")
        return wanted

    def holdings(self) -> dict[str, Callable[[str], frozenset[str]]]:
        """For each enabled destination: which objects of a study it says it holds (C-FIND)."""
        return {
            d.name: functools.partial(self._held_at, d)
            for d in self.settings.destinations
            if d.enabled
        }

    def _held_at(self, destination: DestinationTable, study_instance_uid: str) -> frozenset[str]:
        from cadnode.dimse.destination import Timeouts
        from cadnode.dimse.find import find_instances
        from cadnode.network import destination_of

        found = find_instances(
            destination_of(self.settings, destination),
            self.settings.node.ae_title,
            study_instance_uid,
            Timeouts(delivery=self.settings.delivery.deadline_seconds),
        )
        return frozenset(instance.sop_instance_uid for instance in found)

    def source(self, source: SourceTable) -> Destination:
        """Where exams are fetched from."""
        from cadnode.network import destination_of

        return destination_of(self.settings, source)

    def storage_scp(
        self, store: ExamStore, spool: NodeFiles, incoming: Path | None = None
    ) -> StorageScp:
        """The receiver, not started yet; it writes into `incoming`, of `spool` unless it is given."""
        from cadnode.dimse.metering import AssociationMeter
        from cadnode.dimse.scp import StorageScp
        from cadnode.dimse.watching import AssociationWatch
        from cadnode.network import scp_settings
        from cadnode.proof_parts import commitment_service

        watch = AssociationWatch(self.audit, self.party)
        return StorageScp(
            scp_settings(self.settings, incoming or spool.incoming_dir),
            receive=lambda incoming: keep(
                incoming,
                spool,
                store,
                watch,
                identify=self.settings.node.keep_identifiers,
                clock=utc_now,
                announce=self.announce,
            ),
            room=spool.has_room,
            no_tls=lambda address, why: self.audit.record(
                NodeRefused(Party("", address), f"no TLS: {why}")
            ),
            services=[
                watch,
                commitment_service(
                    self.settings,
                    store,
                    spool,
                    owner=lease_owner(),
                    clock=utc_now,
                    metrics=self.metrics,
                ),
            ],
            meter=AssociationMeter(self.metrics, self.sender_label),
        )


def lease_owner() -> str:
    """A name for this process that no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def once(make: Callable[[], Classifier]) -> Callable[[], Classifier]:
    """`make`, called at the first use and never again once it has succeeded."""
    lock = threading.Lock()
    made: list[Classifier] = []

    def get() -> Classifier:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get
