"""Documents that a test holds to the truth."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from typer.main import get_command

from cadnode import __version__
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.core import errors
from cadnode.core.jobs import ExamStatus
from cadnode.core.reasons import Reason

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def error_classes(base: type[errors.CadnodeError] = errors.CadnodeError):
    yield base
    for child in base.__subclasses__():
        yield from error_classes(child)


def test_every_error_code_is_in_the_operations_guide_and_no_other():
    codes = {error.code for error in error_classes()}
    assert set(re.findall(r"^\| (E\d{3}) ", OPERATIONS, re.MULTILINE)) == codes


def test_the_guide_says_of_each_error_whether_the_node_tries_again():
    for error in error_classes():
        if error.code == "E000":
            continue
        row = re.search(rf"^\| {error.code} \|.*$", OPERATIONS, re.MULTILINE)
        assert row is not None
        said = row.group().split("|")[3].strip()
        assert said == ("yes" if error.retry else "no"), error.code


def test_no_error_code_is_used_twice():
    codes = [e.code for e in error_classes() if e.code != "E000"]
    assert len(codes) == len(set(codes))


def test_every_reason_is_in_the_operations_guide_in_its_own_words():
    rows = dict(re.findall(r"^\| (N\d{3}) \| (.*?) \|", OPERATIONS, re.MULTILINE))
    assert rows == {reason.code: reason.text for reason in Reason}


def test_every_status_is_in_the_operations_guide():
    for status in ExamStatus:
        assert f"| `{status}` |" in OPERATIONS


def test_every_command_is_in_the_readme_or_the_guides():
    guides = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    text = (ROOT / "README.md").read_text() + guides
    for name in commands(get_command(cli)):
        assert f"cadnode {name}" in text, f"`cadnode {name}` is not explained anywhere"


def test_every_piece_of_a_settings_file_in_the_documents_is_one(tmp_path):
    pieces = [
        piece
        for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for piece in re.findall(
            r"^```toml\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE
        )
    ]
    assert len(pieces) >= 10
    for piece in pieces:
        file = tmp_path / "cadnode.toml"
        file.write_text(piece)
        load_settings(file, {})


def test_every_link_and_picture_of_the_documents_is_there():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    places = {
        document: {
            re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)
        }
        for document in documents
    }
    for document in documents:
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            path, _, place = link.partition("#")
            if path.startswith(("http:", "https:")):
                continue
            target = (document.parent / path).resolve() if path else document
            assert target.exists(), f"{document.name} leads to {link}"
            assert not place or place in places[target], f"{document.name} leads to {link}"


def commands(command, prefix: str = ""):
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from commands(child, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def test_the_version_is_the_same_wherever_it_stands():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert project["version"] == __version__ == newest[1]
