"""The golden checks that somebody asked for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select

from cadnode.core.golden import GoldenCheck
from cadnode.storage.database import StorePart
from cadnode.storage.tables import golden_checks


class GoldenRecords(StorePart):
    """The part of the job database for golden checks. Every call may raise DatabaseUnavailable."""

    def add(self, check: GoldenCheck) -> None:
        """Keep what came of one."""
        with self._database.write() as connection:
            connection.execute(
                insert(golden_checks).values(
                    at=check.at,
                    actor=check.actor,
                    model=check.model,
                    well=check.well,
                    difference=check.difference,
                    text=check.text,
                    seconds=check.seconds,
                )
            )

    def newest(self, limit: int = 10) -> Sequence[GoldenCheck]:
        """The last ones, the newest first."""
        statement = select(golden_checks).order_by(golden_checks.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [
                GoldenCheck(
                    at=row.at,
                    actor=row.actor,
                    model=row.model,
                    well=row.well,
                    difference=row.difference,
                    text=row.text,
                    seconds=row.seconds,
                )
                for row in connection.execute(statement)
            ]
