"""The content tree: numbering of references, and its reading as lines."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from cadnode.dicom import sr_codes as c
from cadnode.dicom import sr_tree as t
from cadnode.dicom.sr_items import by_path, parsed, tree_lines


def _entry(uid: str) -> t.Node:
    return t.image(t.CONTAINS, "1.2.840.10008.5.1.4.1.1.1.2", uid)


def _tree(*leading: t.Node) -> t.Node:
    entries = (_entry("1.1"), _entry("1.2"))
    mark = t.point(t.PROPERTIES, c.CENTER, (1.5, 2.5), t.Ref(t.SELECTED, entries[1]))
    return t.container(
        None,
        c.MAMMOGRAPHY_CAD_REPORT,
        *leading,
        t.container(t.CONTAINS, c.IMAGE_LIBRARY, *entries),
        t.code(t.CONTAINS, c.SINGLE_IMAGE_FINDING, c.CALCIFICATION_CLUSTER, mark),
    )


def test_a_reference_is_the_path_of_its_target_from_the_root() -> None:
    items = by_path(parsed(t.encoded(_tree())))
    assert items[(1, 2, 1, 1)].target == (1, 1, 2)
    assert items[(1, 1, 2)].referenced_sop == ("1.2.840.10008.5.1.4.1.1.1.2", "1.2")


def test_references_move_with_what_is_put_before_their_target() -> None:
    language = t.code(t.CONCEPT_MOD, c.LANGUAGE, c.ENGLISH)
    items = by_path(parsed(t.encoded(_tree(language))))
    assert items[(1, 3, 1, 1)].target == (1, 2, 2)


def test_a_reference_holds_nothing_but_relationship_and_path() -> None:
    item = by_path(parsed(t.encoded(_tree())))[(1, 2, 1, 1)].dataset
    assert {element.keyword for element in item} == {
        "RelationshipType",
        "ReferencedContentItemIdentifier",
    }


def test_a_reference_to_a_node_outside_the_tree_is_refused() -> None:
    stray = t.point(t.PROPERTIES, c.CENTER, (0, 0), t.Ref(t.SELECTED, _entry("1.3")))
    with pytest.raises(KeyError):
        t.encoded(t.container(None, c.MAMMOGRAPHY_CAD_REPORT, stray))


def test_whole_numbers_are_written_without_decimals() -> None:
    whole = t.number(t.PROPERTIES, c.NUMBER_OF_CALCIFICATIONS, 5, c.NO_UNITS).item
    assert str(whole.MeasuredValueSequence[0].NumericValue) == "5"
    real = t.number(t.PROPERTIES, c.CERTAINTY_OF_FINDING, 1 / 3, c.PERCENT).item
    assert len(str(real.MeasuredValueSequence[0].NumericValue)) <= 16
    assert real.MeasuredValueSequence[0].FloatingPointValue == 1 / 3


def test_a_library_image_has_no_concept_name_and_a_named_one_has() -> None:
    assert "ConceptNameCodeSequence" not in _entry("1.1").item
    named = t.image(t.SELECTED, "1.2", "1.3", name=c.SOURCE).item
    assert named.ConceptNameCodeSequence[0].CodeValue == c.SOURCE.value


def test_the_tree_reads_as_lines_indented_by_level() -> None:
    assert tree_lines(t.encoded(_tree())) == (
        "CONTAINER Mammography CAD Report",
        "  contains CONTAINER Image Library",
        "    contains IMAGE: 1.1",
        "    contains IMAGE: 1.2",
        "  contains CODE Single Image Finding: Calcification Cluster (129769006, SCT)",
        "    has properties SCOORD Center: POINT 1.5,2.5",
        "      selected from -> 1.1.2",
    )


def test_lines_of_numbers_and_texts_carry_unit_and_value() -> None:
    root = t.container(
        None,
        c.IMAGING_MEASUREMENT_REPORT,
        t.number(t.CONTAINS, c.AREA, 1.25, c.SQUARE_MILLIMETER),
        t.text(t.CONTAINS, c.ALGORITHM_NAME, "name"),
        t.uidref(t.OBS_CONTEXT, c.TRACKING_UNIQUE_IDENTIFIER, "1.2.3"),
    )
    assert tree_lines(t.encoded(root))[1:] == (
        "  contains NUM Area: 1.25 mm2",
        "  contains TEXT Algorithm Name: name",
        "  has obs context UIDREF Tracking Unique Identifier: 1.2.3",
    )


def test_items_without_what_their_type_needs_still_read() -> None:
    root = Dataset()
    root.ContentSequence = [Dataset() for _ in range(4)]
    for item, value_type in zip(
        root.ContentSequence, ("NUM", "CODE", "IMAGE", "SCOORD"), strict=True
    ):
        item.ValueType = value_type
    root.ContentSequence[1].ConceptCodeSequence = [Dataset()]
    read = parsed(root)
    number, coded, image, region = read.children
    assert (number.number, number.unit, coded.code, coded.name) == (None, None, None, None)
    assert (image.referenced_sop, region.points, region.text) == (None, (), None)
    assert len(tree_lines(root)) == 5
