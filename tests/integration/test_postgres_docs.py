"""What docs/scaling.md and docs/sql.md tell an administrator of PostgreSQL to type, typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import ProgrammingError

from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.reading import ExamRecords
from tests.certificates import SiteCa
from tests.contract.exams import T0, new_image
from tests.postgres import PostgreSQL, postgresql, run_as_server

DOCS = Path(__file__).parents[2] / "docs"


def block(page: str, holding: str) -> str:
    """The one block of a page without a language that holds this text."""
    written = (DOCS / page).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", written, re.MULTILINE | re.DOTALL)
    text: str
    (text,) = [text for language, text in found if not language and holding in text]
    return text


@pytest.fixture(scope="module")
def certificates() -> Iterator[SiteCa]:
    folder = Path(tempfile.mkdtemp(prefix="cadnode-certificates-"))
    site = SiteCa(folder)
    files = site.issue("database", "localhost")
    # The server takes no key that others may read.
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    files.key.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(files.key, "postgres")
    yield site
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(certificates: SiteCa) -> Iterator[PostgreSQL]:
    """One that has the role and the database of the page."""
    files = certificates.file.parent
    with postgresql(
        ssl="on",
        ssl_cert_file=str(next(files.glob("**/database*.crt"))),
        ssl_key_file=str(next(files.glob("**/database*.key"))),
    ) as server:
        create = block("scaling.md", "createuser").replace("--pwprompt ", "")
        run_as_server(server, create)
        yield server


def url_of(server: PostgreSQL, ca: Path) -> str:
    where = f"postgresql+psycopg://cadnode@localhost:{server.port}/cadnode"
    return f"{where}?sslmode=verify-full&sslrootcert={ca}"


def test_the_certificate_of_the_server_is_checked(
    server: PostgreSQL, certificates: SiteCa, tmp_path: Path
):
    url = url_of(server, certificates.file)
    upgrade(url)
    for wrong in (
        url_of(server, SiteCa(tmp_path, "stranger").file),
        url.replace("@localhost", "@127.0.0.1"),
    ):
        with pytest.raises(DatabaseUnavailable, match="certificate"):
            Database(wrong).check()


def test_a_process_with_keras_reaches_the_server_over_tls(server: PostgreSQL, certificates: SiteCa):
    script = (
        "import sys, cadnode.inference.keras_model;"
        "from cadnode.storage.database import Database, upgrade;"
        "upgrade(sys.argv[1]); Database(sys.argv[1]).check()"
    )
    url = url_of(server, certificates.file)
    subprocess.run([sys.executable, "-c", script, url], check=True, timeout=100)


def test_a_dump_is_put_back_and_a_reader_reads_what_is_no_secret(
    server: PostgreSQL, certificates: SiteCa
):
    url = url_of(server, certificates.file)
    upgrade(url)
    database = Database(url)
    known = ExamIdentifiers(patient_id="P1")
    SqlExamStore(database).accept(new_image(identifiers=known), now=T0)
    (before,) = ExamRecords(database).list_exams()
    database.close()
    grants = block("sql.md", "CREATE ROLE reader")
    for statement in grants.split(";\n"):
        server.ask(statement, database="cadnode")
    run_as_server(server, block("scaling.md", "pg_dump"))
    (dump,) = server.folder.glob("*.dump")
    assert dump.stat().st_mode & 0o077 == 0
    server.ask("DROP OWNED BY reader", database="cadnode")
    server.ask("DROP ROLE reader")
    run_as_server(server, block("scaling.md", "pg_restore"))
    (after,) = ExamRecords(database).list_exams()
    assert replace(after, age_seconds=before.age_seconds) == before
    SqlExamStore(database).accept(new_image(2), now=T0)
    database.close()
    for statement in grants.split(";\n"):
        server.ask(statement, database="cadnode")
    reader = Database(url.replace("cadnode@", "reader@"))
    assert len(ExamRecords(reader).list_exams()) == 1
    for forbidden in ("SELECT * FROM users", "DELETE FROM events"):
        with (
            pytest.raises((DatabaseUnavailable, ProgrammingError)),
            reader.write() as connection,
        ):
            connection.exec_driver_sql(forbidden)
    reader.close()


def test_the_copy_is_made_with_the_url_of_the_settings():
    page = (DOCS / "scaling.md").read_text()
    (url,) = re.findall(r'^url = "(postgresql[^"]*)"', page, re.MULTILINE)
    assert f'cadnode db copy "{url}"' in page
