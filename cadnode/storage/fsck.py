"""Compares the job database, the spool and what destinations say they hold.

Safe while the node runs: the rows are read as they stand at one moment, and what the files seem to
contradict is looked at once more before it is believed. What is on its way, a file whose row comes
a moment later or an object still being received, is left alone until it is old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from cadnode.core.consistency import (
    Discrepancy,
    ImageFacts,
    Kind,
    NodeFacts,
    ReplacedFacts,
    ResultFacts,
    contradictions,
)
from cadnode.core.errors import CadnodeError
from cadnode.core.file_ports import NodeFiles, SpoolFile
from cadnode.core.jobs import DeliveryStatus, ExamStatus
from cadnode.storage.database import Database
from cadnode.storage.facts import damage, node_facts
from cadnode.storage.reading import ExamRecords
from cadnode.storage.spool import data_set_sha256
from cadnode.storage.tables import images, jobs, replaced_images, results

ON_ITS_WAY = timedelta(minutes=10)
"""A file younger than this may be waiting for its row, or for the rest of itself."""

Holdings = Callable[[str], Collection[str]]
"""The SOP Instance UIDs that a destination says it holds of a study.

Raises Unreachable or Refused when it does not say."""


_Kept = ImageFacts | ReplacedFacts | ResultFacts
_TABLES = {ImageFacts: images, ReplacedFacts: replaced_images, ResultFacts: results}


@dataclass(frozen=True)
class Outcome:
    """What a check found, and what could not be looked at."""

    discrepancies: Sequence[Discrepancy] = ()
    unchecked: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many exams, files, ... were looked at."""

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong, as far as it was looked at."""
        return not any(item.kind.is_error for item in self.discrepancies)


class Fsck:
    """The checks. Nothing here changes anything; `repair` is in a module of its own."""

    def __init__(
        self,
        database: Database,
        spool: NodeFiles,
        *,
        destinations: Mapping[str, bool],
        now: datetime,
    ) -> None:
        """`destinations` are those set up, and whether each is enabled."""
        self._database = database
        self._spool = spool
        self._destinations = destinations
        self._now = now

    def check(
        self, *, deep: bool = False, archives: Mapping[str, Holdings] | None = None
    ) -> Outcome:
        """Everything; `deep` reads every file and compares its hash, `archives` asks each one.

        Raises DatabaseUnavailable when the database cannot be read or has another schema.
        """
        self._database.check()
        with self._database.read() as connection:
            found = list(damage(connection))
            facts = node_facts(connection)
        found += contradictions(facts, destinations=self._destinations, now=self._now)
        files = list(self._spool.walk())
        rows = [row for row in _with_files(facts) if not facts.is_purged(row.exam_id)]
        found += self._files(rows, files, deep)
        found += self._leftovers(rows, files)
        found += _permissions(self._spool, files, self._database.files)
        lacking, unchecked = _ask(facts, archives or {})
        return Outcome(
            discrepancies=[*found, *lacking],
            unchecked=unchecked,
            counts={
                "exams": len(facts.exams),
                "images": len(facts.images),
                "results": len(facts.results),
                "deliveries": len(facts.deliveries),
                "files": len(files),
                "destinations": len(archives or {}) - len(unchecked),
            },
        )

    def _files(
        self, rows: Sequence[_Kept], files: Sequence[SpoolFile], deep: bool
    ) -> Iterator[Discrepancy]:
        sizes = {file.path: file.size for file in files}
        for row in rows:
            if sizes.get(row.path) == row.size and not deep:
                continue
            problem = self._file(row, deep)
            # It may have been purged since the rows were read.
            if problem is not None and self._is_kept(row):
                yield problem

    def _file(self, row: _Kept, deep: bool) -> Discrepancy | None:
        is_image = not isinstance(row, ResultFacts)
        missing = Kind.IMAGE_MISSING if is_image else Kind.RESULT_MISSING
        altered = Kind.IMAGE_ALTERED if is_image else Kind.RESULT_ALTERED
        about = f"{row.sop_instance_uid} of exam {row.exam_id}"
        try:
            size = self._spool.size_of(row.path)
            if size is None:
                return Discrepancy(missing, row.path, about, row.exam_id)
            if size != row.size:
                detail = f"{about}, {size} bytes in place of {row.size}"
                return Discrepancy(altered, row.path, detail, row.exam_id)
            if deep and self._sha256(row.path, is_image) != row.sha256:
                return Discrepancy(altered, row.path, f"{about}, another hash", row.exam_id)
        except FileNotFoundError:
            return Discrepancy(missing, row.path, about, row.exam_id)
        except OSError as error:
            return Discrepancy(altered, row.path, f"{about}, {error.strerror}", row.exam_id)
        except CadnodeError as error:
            return Discrepancy(altered, row.path, f"{about}, {error.detail}", row.exam_id)
        return None

    def _sha256(self, path: str, is_image: bool) -> str:
        with self._spool.opened(path) as stream:
            if is_image:
                return data_set_sha256(stream)
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _is_kept(self, row: _Kept) -> bool:
        table = _TABLES[type(row)]
        statement = (
            select(table.c.path)
            .join(jobs, jobs.c.id == table.c.job_id)
            .where(
                table.c.sop_instance_uid == row.sop_instance_uid,
                table.c.path == row.path,
                table.c.size == row.size,
                jobs.c.status != ExamStatus.PURGED,
            )
        )
        with self._database.read() as connection:
            return connection.execute(statement).first() is not None

    def _leftovers(
        self, rows: Sequence[_Kept], files: Sequence[SpoolFile]
    ) -> Iterator[Discrepancy]:
        known = {row.path for row in rows}
        old = [
            file
            for file in files
            if self._now - file.modified_at > ON_ITS_WAY and file.path not in known
        ]
        # Its row may have been written since.
        kept = [file.path for file in old if not file.is_partial]
        records = ExamRecords(self._database)
        unknown = {
            path
            for start in range(0, len(kept), 500)
            for path in records.unknown_paths(kept[start : start + 500])
        }
        for file in old:
            if file.is_partial:
                yield Discrepancy(Kind.FILE_PARTIAL, file.path, f"{file.size} bytes")
            elif file.path in unknown and self._spool.size_of(file.path) is not None:
                yield Discrepancy(Kind.FILE_UNKNOWN, file.path, f"{file.size} bytes")


def _with_files(facts: NodeFacts) -> Iterator[_Kept]:
    yield from facts.images
    yield from facts.replaced
    yield from facts.results


def _permissions(
    spool: NodeFiles, files: Sequence[SpoolFile], database_files: Sequence[Path]
) -> Iterator[Discrepancy]:
    # What is being received gets its rights when it is kept; its folder is closed to others.
    modes = [(file.path, file.mode) for file in files if not file.is_partial]
    for path in (*spool.folders(), *database_files):
        try:
            modes.append((spool.relative(path), path.stat().st_mode))
        except FileNotFoundError:
            # The database's companions come and go.
            continue
    for name, mode in modes:
        if mode & 0o077:
            yield Discrepancy(Kind.PERMISSIONS, name, f"mode {mode & 0o777:04o}")


def _ask(facts: NodeFacts, archives: Mapping[str, Holdings]) -> tuple[list[Discrepancy], list[str]]:
    recorded = {result.id: result for result in facts.results}
    lacking, unchecked = [], []
    for name, holdings in archives.items():
        by_study: dict[str, list[ResultFacts]] = {}
        for delivery in facts.deliveries:
            exam = facts.exams[delivery.exam_id]
            # What is purged here could not be sent again, and what is superseded need not be.
            if (
                delivery.destination == name
                and delivery.status == DeliveryStatus.DELIVERED
                and exam.status != ExamStatus.PURGED
                and exam.superseded_by is None
            ):
                study = exam.study_instance_uid
                by_study.setdefault(study, []).append(recorded[delivery.result_id])
        try:
            for study, stored in by_study.items():
                held = set(holdings(study))
                lacking += [
                    Discrepancy(
                        Kind.ARCHIVE_LACKS,
                        result.sop_instance_uid,
                        f"exam {result.exam_id} at {name}",
                        result.exam_id,
                    )
                    for result in stored
                    if result.sop_instance_uid not in held
                ]
        except CadnodeError as error:
            unchecked.append(f"{name}: {error}")
    return lacking, unchecked
