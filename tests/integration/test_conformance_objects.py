"""The conformance statement against the objects that are really written.

The reports here are not those from which the statement is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_description
from pydicom.sr.codedict import codes as dictionary
from pydicom.sr.coding import Code

from cadnode.app import App
from cadnode.config import Settings
from cadnode.conformance import codes, notes
from cadnode.conformance.names import name_of
from cadnode.conformance.walks import KeywordPath, coded_concepts, value_types
from cadnode.conformance.walks import keywords as keywords_of
from cadnode.core.exam import DocumentReference
from cadnode.core.reasons import Reason
from cadnode.core.uids import derive_uid
from cadnode.dicom import sr_codes
from cadnode.dicom.reader import DicomReader
from cadnode.result_parts import RESULT_CLASSES
from tests import objects as images
from tests.integration.statement import Row, Statement, plain, written
from tests.unit.sr_reports import TWO_CLUSTERS, failed, finding, report_of

NEVER_WRITTEN = {"NOT_FOR_PRESENTATION"}
"""Codes that are only read, or held against what is written."""

CONDITIONAL_GROUPS = (244, 4014, 4015, 6022)
"""Context groups whose codes depend on what an image tells."""


@dataclass(frozen=True)
class Written:
    """One object, and the kind that it is."""

    kind: str
    dataset: Dataset


@pytest.fixture(scope="module")
def statement() -> Statement:
    return written()


@pytest.fixture(scope="module")
def written_objects(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Written]:
    """Every kind, built from reports of many sorts."""
    folder = tmp_path_factory.mktemp("exams")
    many = ((finding(calcifications=60),), (finding(operating_point=3),), (), ())
    text = images.four_views(study_uid="1.2.77", coding="text", patient_id="Another")
    shaded: list[tuple[str, Any, str]] = [
        ("CC", images.Sigmoid(1500.0, 900.0), "MONOCHROME2"),
        ("MLO", images.GammaLut(), "MONOCHROME2"),
        ("ML", images.Window(2000.0, 1000.0), "MONOCHROME1"),
        ("XCCL", (), "MONOCHROME2"),
        ("FB", None, "MONOCHROME2"),
    ]
    odd = [
        images.mammogram(
            laterality="L" if number % 2 else "R",
            view=view,
            modifiers=list(images.MODIFIERS)[number % len(images.MODIFIERS) :],
            study_uid="1.2.78",
            orientation="h",
            voi=voi,
            photometric=photometric,
        )
        for number, (view, voi, photometric) in enumerate(shaded)
    ]
    for image in odd:
        image.PositionerPrimaryAngle, image.PositionerSecondaryAngle = 45.0, 1.0
    earlier = tuple(
        DocumentReference("1.2.77", derive_uid("s", kind), uid, derive_uid("i", kind), kind)
        for kind, uid in RESULT_CLASSES.items()
    )
    reports = [
        report_of(folder / "marks", findings=TWO_CLUSTERS),
        report_of(folder / "none"),
        report_of(folder / "part", findings=TWO_CLUSTERS, fail=(0, 2)),
        report_of(folder / "part, none", fail=(1,)),
        report_of(folder / "all failed", fail=(0, 1, 2, 3)),
        report_of(folder / "many", findings=many, datasets=text, revision=2, predecessors=earlier),
        report_of(folder / "odd", findings=((finding(),), (), (), (), ()), datasets=odd),
    ]
    lost = reports[0].images[0]
    unreadable = replace(failed(lost, Reason.UNREADABLE), path=folder / "gone.dcm")
    reports.append(replace(reports[0], images=(unreadable, *reports[0].images[1:])))
    return [
        Written(built.kind, dcmread(BytesIO(built.content)))
        for builder in App(Settings()).builders()
        for report in reports
        for built in builder.objects(report)
    ]


def iod_rows(statement: Statement, kind: str) -> dict[KeywordPath, Row]:
    """The rows of the kind's tables by the names of the attributes on their path."""
    found: dict[KeywordPath, Row] = {}
    path: list[str] = []
    for row in [
        *statement.table("Attributes of every created object"),
        *statement.table(f"Attributes of {kind}"),
    ]:
        if row["Attribute"].startswith("**"):
            continue
        depth = len(row["Attribute"]) - len(row["Attribute"].lstrip(">"))
        path = [*path[:depth], row["Attribute"].lstrip(">")]
        found[tuple(path)] = row
    return found


def names(path: KeywordPath) -> KeywordPath:
    return tuple(dictionary_description(keyword) for keyword in path)


def test_every_kind_of_object_has_its_tables(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    kinds = {one.kind for one in written_objects}
    assert kinds == set(RESULT_CLASSES)
    said = {c.removeprefix("Attributes of ") for c in statement.captions if " of " in c}
    assert kinds <= said
    for kind, uid in RESULT_CLASSES.items():
        assert iod_rows(statement, kind)[("SOP Class UID",)]["Value"] == name_of(uid)


def test_every_attribute_that_is_written_stands_in_the_tables_as_it_is_written(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    for one in written_objects:
        rows = iod_rows(statement, one.kind)
        copied = {
            path for path, row in rows.items() if (row["VR"], row["Source"]) == ("SQ", "COPY")
        }
        for path, element in keywords_of(one.dataset):
            assert not element.is_private
            named = names(path)
            if any(named[:depth] in copied for depth in range(1, len(named))):
                continue
            assert named in rows, (one.kind, named)
            row = rows[named]
            assert row["VR"] == element.VR
            if row["Presence"] == "ALWAYS":
                assert not element.is_empty, (one.kind, named)
            elif row["Presence"] == "EMPTY":
                assert element.is_empty, (one.kind, named)


def test_what_is_always_there_is_always_there(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    for one in written_objects:
        present = {names(path) for path, _ in keywords_of(one.dataset)}
        for path, row in iod_rows(statement, one.kind).items():
            parent_is_there = len(path) == 1 or path[:-1] in present
            if row["Presence"] != "ANAP" and parent_is_there and not empty(one.dataset, path[:-1]):
                assert path in present, (one.kind, path)


def empty(dataset: Dataset, path: KeywordPath) -> bool:
    """Does no sequence at this path have an item?"""
    return not any(
        names(found) == path and len(element.value)
        for found, element in keywords_of(dataset)
        if element.VR == "SQ"
    ) and bool(path)


def test_fixed_values_are_the_values_that_are_written(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    compared = 0
    for one in written_objects:
        rows = iod_rows(statement, one.kind)
        for path, element in keywords_of(one.dataset):
            row = rows.get(names(path))
            if row is None or row["Source"] != "FIXED" or element.is_empty or element.VR == "SQ":
                continue
            if row["Attribute"] == "Software Versions":
                continue
            value = element.value if element.VM > 1 else [element.value]
            text = "\\".join(str(v) for v in value)
            shown = name_of(text) if element.VR == "UI" else text
            assert shown in plain(row["Value"]), (one.kind, path)
            compared += 1
    assert compared > 500


def test_every_code_that_is_written_stands_in_the_table_and_no_other(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    rows = {
        (row["Coding scheme designator"], plain(row["Code value"])): row
        for row in statement.table("Codes written")
    }
    used: dict[tuple[str, str], set[str]] = {}
    for one in written_objects:
        for code in coded_concepts(one.dataset):
            used.setdefault((code.scheme_designator, code.value), set()).add(one.kind)
            assert rows[code.scheme_designator, code.value]["Code meaning"] == code.meaning
    for key, kinds in used.items():
        assert kinds <= set(rows[key]["Written in"].split(", ")), key
    conditional = {
        (code.scheme_designator, code.value)
        for number in CONDITIONAL_GROUPS
        for code in getattr(dictionary, f"cid{number}").concepts.values()
    }
    assert rows.keys() - used.keys() <= conditional


def test_every_code_of_the_builders_is_written_or_known_to_be_only_read(
    statement: Statement,
) -> None:
    table = statement.table("Codes written")
    said = {(row["Coding scheme designator"], plain(row["Code value"])) for row in table}
    known = {name: [code] for name, code in vars(sr_codes).items() if isinstance(code, Code)}
    for name in ("SIDES", "LATERALITIES", "VIEWS"):
        known[name] = list(getattr(sr_codes, name).values())
    known["VIEW_MODIFIERS"] = list(sr_codes.VIEW_MODIFIERS)
    assert len(known) > 90
    for name, of_name in known.items():
        for code in of_name:
            is_said = (code.scheme_designator, code.value) in said
            assert is_said is (name not in NEVER_WRITTEN), name


def test_the_context_groups_of_the_standard_hold_the_codes_that_are_named_there(
    statement: Statement,
) -> None:
    for row in statement.table("Context groups"):
        number = int(row["Context group"].split()[1])
        assert row["Codes written"], number
        if number == codes.LANGUAGES:
            continue
        group = {
            f"{code.value} {code.scheme_designator}"
            for code in getattr(dictionary, f"cid{number}").concepts.values()
        }
        for said in row["Codes written"].split("; "):
            if re.match(r"\S+ (SCT|DCM) ", said):
                assert " ".join(said.split()[:2]) in group, (number, said)


def test_value_types_and_relationships_are_those_of_the_statement(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    for kind in ("mammography-cad-sr", "tid1500-sr"):
        pairs = {
            pair for one in written_objects if one.kind == kind for pair in value_types(one.dataset)
        }
        for what, found in (
            ("Value types", {value for value, _ in pairs if value} | {"CONTAINER"}),
            ("Relationship types", {relationship for _, relationship in pairs}),
        ):
            (line,) = re.findall(rf"^\| {what}, `{kind}`.*?\| (.*) \|$", statement.text, re.M)
            assert set(line.split(", ")) == found


def test_templates_that_are_named_in_an_object_are_in_the_table(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    said = {row["Template"].split()[1] for row in statement.table("Templates")}
    for one in written_objects:
        for _, element in keywords_of(one.dataset):
            if element.keyword == "TemplateIdentifier":
                assert str(element.value) in said


def test_created_objects_are_in_the_transfer_syntax_and_character_set_of_the_statement(
    statement: Statement, written_objects: Sequence[Written]
) -> None:
    for one in written_objects:
        syntax = name_of(str(one.dataset.file_meta.TransferSyntaxUID))
        assert re.search(rf"^\| `{one.kind}` \| .*{re.escape(syntax)}", statement.text, re.M)
        assert one.dataset.SpecificCharacterSet == "ISO_IR 192"


def test_what_is_not_always_there_has_its_condition_and_what_is_made_its_origin(
    statement: Statement,
) -> None:
    for kind in RESULT_CLASSES:
        for path, row in iod_rows(statement, kind).items():
            conditional = row["Presence"] == "ANAP" or row["Source"] in ("AUTO", "CONFIG")
            assert row["Value"] or not conditional, (kind, path)
    for kind in ("mammography-cad-sr", "tid1500-sr"):
        for row in statement.table(f"Content of {kind}"):
            assert bool(row["Condition"]) is row["Number"].startswith("0"), row


def test_no_note_is_about_something_that_is_not_written(statement: Statement) -> None:
    said = {
        (path[-1], row["Value"])
        for kind in RESULT_CLASSES
        for path, row in iod_rows(statement, kind).items()
    }
    for key, note in notes.ATTRIBUTES.items():
        assert (dictionary_description(key.split(">")[-1]), note) in said, key
    conditions = {
        (plain(row["Concept name"]).strip("()").split(", ", 2)[2], row["Condition"])
        for caption in statement.captions
        if caption.startswith("Content of ")
        for row in statement.table(caption)
        if row["Condition"]
    }
    assert set(notes.CONTENT.items()) == conditions


def test_what_the_reader_looks_at_stands_among_the_used_fields(
    statement: Statement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = statement.text.index("#### 9.1.2 Used fields")
    section = statement.text[start : statement.text.index("#### 9.1.3")]
    files = [
        images.write(dataset, tmp_path / f"{number}.dcm")
        for number, dataset in enumerate(
            [
                images.mammogram(modifiers=["rolled lateral"], voi=images.GammaLut()),
                images.mammogram(for_processing=True, source_uid="1.2.3", padding_value=0),
                images.mammogram(voi=images.Sigmoid(2000.0, 500.0), photometric="MONOCHROME1"),
            ]
        )
    ]
    asked: set[str] = set()
    get = Dataset.get

    def recorded(self: Dataset, key: Any, default: Any = None) -> Any:
        if isinstance(key, str):
            asked.add(key)
        return get(self, key, default)

    monkeypatch.setattr(Dataset, "get", recorded)
    reader = DicomReader()
    for file in files:
        reader.mammogram(file, reader.header(file))

    of_codes = {"CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodeMeaning"}
    # How the object and its tables are written, which chapters 4 and 7 speak of.
    of_tables = {"LUTDescriptor", "LUTData", "TransferSyntaxUID", "SpecificCharacterSet"}
    for keyword in asked - of_codes - of_tables:
        assert dictionary_description(keyword) in section, keyword
    assert len(asked) > 25
