"""The conformance statement as a document: made from the code, for the settings in force."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from cadnode.cli import cli
from cadnode.config import Settings
from cadnode.config.tables import AuditTable, PeerTable
from cadnode.conformance import parameters, security
from cadnode.conformance.objects import Objects, build_objects
from cadnode.core.audit import AuditEvent
from tests.integration.statement import FILE, Statement, plain, written

SITE = """
[node]
ae_title = "MAMMOCAD"
port = 11199
station_name = "CAD 7"
max_associations = 12
accept_unknown = true
[tls]
listen = true
port = 2799
certificate = "secret/node.crt"
key = "secret/node.key"
ca = "secret/ca.crt"
[limits]
max_associations = 7
[delivery]
deadline_seconds = 55
give_up_hours = 5
first_delay_seconds = 3
[exam]
quiet_seconds = 99
[audit]
host = "audit.example"
[[peers]]
name = "room 1"
ae_title = "MG1"
host = "10.0.0.0/24"
tls = true
certificate_sha256 = "{digits}"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs.example"
port = 104
tls = true
objects = ["mammography-cad-sr", "gsps"]
commitment = "require"
[[sources]]
name = "archive"
ae_title = "OLD"
host = "10.0.0.3"
port = 105
retrieve = "move"
[[pull]]
source = "archive"
"""


_built: list[Objects] = []


@pytest.fixture(autouse=True)
def _objects_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a site calls its device is all that objects have of its settings, and no table says it."""

    def build(settings: Settings) -> Objects:
        if not _built:
            _built.append(build_objects(settings))
        return _built[0]

    monkeypatch.setattr("cadnode.conformance.build_objects", build)


@pytest.fixture
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CADNODE_CONFIG", raising=False)


@pytest.mark.usefixtures("_no_environment")
def test_the_documentation_holds_the_statement_of_the_default_settings() -> None:
    result = CliRunner().invoke(cli, ["conformance"])

    assert result.exit_code == 0, result.output
    assert result.stdout == FILE.read_text(encoding="utf-8"), (
        "cadnode conformance --out docs/conformance.md"
    )


def test_a_site_gets_the_statement_of_its_own_settings(tmp_path: Path) -> None:
    config, out = tmp_path / "site.toml", tmp_path / "site.md"
    config.write_text(SITE.replace("{digits}", "ab" * 32))

    result = CliRunner().invoke(cli, ["conformance", "--config", str(config), "--out", str(out)])

    assert result.exit_code == 0, result.output
    site = Statement(out.read_text(encoding="utf-8"))
    assert [tuple(row.values()) for row in site.table("Local AE title")] == [
        ("`MAMMOCAD`", "11199", "no"),
        ("`MAMMOCAD`", "2799", "yes"),
    ]
    assert [tuple(row.values()) for row in site.table("Remote AE titles")] == [
        ("room 1", "`MG1`", "10.0.0.0/24", "-", "yes", "sends images"),
        (
            *("pacs", "`PACS`", "pacs.example", "104", "yes"),
            "gets mammography-cad-sr, gsps; commitment require",
        ),
        ("archive", "`OLD`", "10.0.0.3", "105", "no", "images by C-MOVE; asked every 15 min"),
    ]
    values = {row["Parameter"]: row["Value"] for row in site.table("Parameters")}
    assert values["[node] ae_title"] == "`MAMMOCAD` (default `CADNODE`)"
    assert values["[delivery] deadline_seconds"] == "`55` (default `120`)"
    assert values["[tls] key"] == "set"
    for said in (
        "99 s after its last image",
        "12 of all peers; 7 of one peer",
        "55 (`[delivery] deadline_seconds`)",
        "after 3 s, doubling up to 15 min, with jitter, until 5 h after the first try",
        "port (11199, or 2799 for a source with TLS)",
        "on, port 2799",
        "on, by tls to audit.example",
        "`[node] accept_unknown` is true",
    ):
        assert said in site.text, said
    for kept_quiet in ("secret", "ab" * 32, str(tmp_path), "example.crt"):
        assert kept_quiet not in site.text
    assert site.captions == written().captions


def test_a_file_that_cannot_be_written_is_bad_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cadnode.conformance.conformance_statement", lambda _settings: "text")
    result = CliRunner().invoke(cli, ["conformance", "--out", str(tmp_path / "no" / "file.md")])
    assert result.exit_code == 2
    assert "cannot be written" in result.output


def test_every_parameter_of_the_dicom_side_is_in_the_statement() -> None:
    elsewhere = {"node.data_dir", "node.keep_identifiers"}
    elsewhere |= {f"retention.{key}" for key in ("max_bytes", "high_water_percent")}
    elsewhere |= {"retention.low_water_percent"}
    elsewhere |= {f"audit.{key}" for key in AuditTable.model_fields if key not in ("host", "port")}
    for name, meanings in parameters.SINGLE.items():
        fields = set(type(Settings.model_fields[name].default).model_fields)
        hidden = {key for key in fields if f"{name}.{key}" in elsewhere}
        assert set(meanings) | hidden == fields, name
    for name, (table, meanings) in parameters.REPEATED.items():
        assert {"name", *meanings} == {"name", *table.model_fields}, name
    assert "ae_title" in PeerTable.model_fields


def test_tables_are_numbered_in_their_order_and_no_caption_stands_twice() -> None:
    statement = written()
    assert len(statement.captions) == len(statement.numbers) == len(set(statement.numbers))
    for chapter in "1489":
        of_chapter = [n for n in statement.numbers if n.startswith(f"{chapter}-")]
        numbers = [int(n[2:]) for n in of_chapter if n[2:].isdigit()]
        assert numbers == list(range(1, len(numbers) + 1)), chapter


def test_links_and_references_lead_somewhere() -> None:
    statement = written()
    headings = re.findall(r"^#+ (.*)$", statement.text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(#([^)]+)\)", statement.text):
        assert target in anchors, target
    for file, anchor in re.findall(r"\]\((\w+\.md)#([^)]+)\)", statement.text):
        guide = (FILE.parent / file).read_text()
        assert re.search(rf"^#+ {anchor.replace('-', '[- ]')}$", guide, re.MULTILINE | re.I), anchor
    for number in re.findall(r"(?<!PS3\.8 )[Tt]ables? (\d-[\dA-Z]+)", statement.text):
        assert number in statement.numbers, number
    for section in re.findall(r"see (\d(?:\.\d+)+)", statement.text):
        assert any(heading.startswith(f"{section} ") for heading in headings), section


def test_the_cipher_suites_are_those_of_a_real_handshake_context() -> None:
    from cadnode.dimse.tls import server_without_files

    numbers = {int(suite["id"]) & 0xFFFF for suite in server_without_files().get_ciphers()}
    said = {
        int(plain(row["Number"]).replace(",0x", ""), 16)
        for row in written().table("TLS cipher suites")
    }
    assert said == numbers


def test_every_event_that_is_audited_stands_in_the_table() -> None:
    kinds = {type(event) for event, _ in security.EVENTS}
    assert kinds == set(get_args(AuditEvent))
    rows = written().table("Audit messages")
    assert len(rows) == len(kinds)
    guide = (FILE.parent / "operations.md").read_text()
    for row in rows:
        assert row["Event ID"].split()[0] in guide, row
