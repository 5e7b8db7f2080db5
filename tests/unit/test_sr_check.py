"""Every invariant of the result objects catches the object that breaks it.

Each mutant is a valid object with one thing changed; none of them is caught by building alone.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.sr.coding import Code

from cadnode.core.errors import ResultInvalid
from cadnode.core.exam import DocumentReference, ExamReport
from cadnode.core.uids import derive_uid
from cadnode.dicom import sr_codes as c
from cadnode.dicom.cad_sr import MammographyCadSr
from cadnode.dicom.object_header import from_bytes
from cadnode.dicom.sr_check import check_mammography_cad_sr, check_tid1500_sr
from cadnode.dicom.sr_items import Item, parsed
from cadnode.dicom.tid1500 import Tid1500Sr
from tests.unit.sr_reports import EQUIPMENT, TWO_CLUSTERS, report_of


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExamReport:
    folder = tmp_path_factory.mktemp("exam")
    report = report_of(folder, findings=TWO_CLUSTERS, fail=(0,))
    before = DocumentReference(
        report.study_instance_uid,
        derive_uid("earlier series"),
        "1.2.840.10008.5.1.4.1.1.88.50",
        derive_uid("earlier"),
        "mammography-cad-sr",
    )
    return replace(report, revision=2, predecessors=(before,))


@pytest.fixture(scope="module")
def built_cad(report: ExamReport) -> Dataset:
    return from_bytes(MammographyCadSr(EQUIPMENT).build(report).content)


@pytest.fixture(scope="module")
def built_measurements(report: ExamReport) -> Dataset:
    result = Tid1500Sr(EQUIPMENT).build(report)
    assert result is not None
    return from_bytes(result.content)


def items(dataset: Dataset, name: Code) -> list[Item]:
    """The items with this concept name, in order."""
    return [item for item in parsed(dataset).walk() if item.name is not None and item.name == name]


def references(dataset: Dataset) -> list[Item]:
    return [item for item in parsed(dataset).walk() if item.target is not None]


def item(dataset: Dataset, name: Code, index: int = 0) -> Dataset:
    return items(dataset, name)[index].dataset


def set_code(target: Dataset, code: Code) -> None:
    (coded,) = target.ConceptCodeSequence
    coded.CodeValue, coded.CodingSchemeDesignator = code.value, code.scheme_designator
    coded.CodeMeaning = code.meaning


def set_number(target: Dataset, value: float) -> None:
    (measured,) = target.MeasuredValueSequence
    measured.NumericValue = value
    measured.FloatingPointValue = value


def drop(dataset: Dataset, name: Code) -> None:
    """Remove the first item of this name."""
    for parent in parsed(dataset).walk():
        for index, child in enumerate(parent.children):
            if child.name is not None and child.name == name:
                del parent.dataset.ContentSequence[index]
                return


# ---- both kinds ----------------------------------------------------------------------------


def no_template(dataset: Dataset) -> None:
    del dataset.ContentTemplateSequence


def another_template(dataset: Dataset) -> None:
    dataset.ContentTemplateSequence[0].TemplateIdentifier = "5000"


def another_title(dataset: Dataset) -> None:
    dataset.ConceptNameCodeSequence[0].CodeValue = "111037"


def open_polygon(dataset: Dataset) -> None:
    for each in parsed(dataset).walk():
        if each.graphic_type == "POLYLINE":
            each.dataset.GraphicData = list(each.dataset.GraphicData)[:-2]
            return


def outside_the_image(dataset: Dataset) -> None:
    for each in parsed(dataset).walk():
        if each.graphic_type == "POLYLINE":
            data = list(each.dataset.GraphicData)
            data[2] = 80.5
            each.dataset.GraphicData = data
            return


def unlisted_image(dataset: Dataset) -> None:
    study = dataset.CurrentRequestedProcedureEvidenceSequence[0]
    del study.ReferencedSeriesSequence[0].ReferencedSOPSequence[1]


def image_listed_twice(dataset: Dataset) -> None:
    series = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence.append(deepcopy(series.ReferencedSOPSequence[0]))


def region_without_an_image(dataset: Dataset) -> None:
    for each in parsed(dataset).walk():
        if each.value_type == "SCOORD":
            del each.dataset.ContentSequence
            return


def region_with_two_images(dataset: Dataset) -> None:
    for each in parsed(dataset).walk():
        if each.value_type == "SCOORD":
            each.dataset.ContentSequence.append(deepcopy(each.dataset.ContentSequence[0]))
            return


def another_study(dataset: Dataset) -> None:
    dataset.StudyInstanceUID = derive_uid("another study")


def verified_by_nobody(dataset: Dataset) -> None:
    dataset.VerificationFlag = "VERIFIED"


def changed_score(dataset: Dataset) -> None:
    set_number(item(dataset, c.CERTAINTY_OF_FINDING), 91.0)


def changed_outline(dataset: Dataset) -> None:
    for each in parsed(dataset).walk():
        if each.graphic_type == "POLYLINE":
            data = list(each.dataset.GraphicData)
            data[2] += 0.01
            each.dataset.GraphicData = data
            return


def changed_count(dataset: Dataset) -> None:
    set_number(item(dataset, c.NUMBER_OF_CALCIFICATIONS), 4)


def another_tracking_uid(dataset: Dataset) -> None:
    item(dataset, c.TRACKING_UNIQUE_IDENTIFIER).UID = derive_uid("another mark")


BOTH: tuple[Callable[[Dataset], None], ...] = (
    no_template,
    another_template,
    another_title,
    open_polygon,
    outside_the_image,
    unlisted_image,
    image_listed_twice,
    region_without_an_image,
    region_with_two_images,
    another_study,
    verified_by_nobody,
    changed_score,
    changed_outline,
    changed_count,
    another_tracking_uid,
)

# ---- Mammography CAD SR --------------------------------------------------------------------


def dangling_reference(dataset: Dataset) -> None:
    references(dataset)[0].dataset.ReferencedContentItemIdentifier = [1, 2, 9]


def reference_to_no_image(dataset: Dataset) -> None:
    references(dataset)[-1].dataset.ReferencedContentItemIdentifier = [1, 2]


def shifted_tree(dataset: Dataset) -> None:
    dataset.ContentSequence.insert(1, deepcopy(dataset.ContentSequence[0]))


def contained_by_reference(dataset: Dataset) -> None:
    references(dataset)[-1].dataset.RelationshipType = "CONTAINS"


def region_on_an_image_by_value(dataset: Dataset) -> None:
    image = next(each for each in parsed(dataset).walk() if each.value_type == "IMAGE")
    copied = deepcopy(image.dataset)
    copied.RelationshipType = "SELECTED FROM"
    item(dataset, c.CENTER).ContentSequence = [copied]


def region_on_another_image(dataset: Dataset) -> None:
    for each in references(dataset):
        if each.relationship == "SELECTED FROM":
            each.dataset.ReferencedContentItemIdentifier = [1, 2, 3]


def summary_without_findings(dataset: Dataset) -> None:
    set_code(item(dataset, c.FINDINGS_SUMMARY), c.SOME_WITHOUT_FINDINGS)


def summary_of_full_success(dataset: Dataset) -> None:
    set_code(item(dataset, c.FINDINGS_SUMMARY), c.ALL_WITH_FINDINGS)
    set_code(item(dataset, c.SUMMARY_OF_DETECTIONS), c.SUCCEEDED)


def no_failed_detections(dataset: Dataset) -> None:
    drop(dataset, c.FAILED_DETECTIONS)


def no_summary_of_analyses(dataset: Dataset) -> None:
    drop(dataset, c.SUMMARY_OF_ANALYSES)


def analyses_succeeded(dataset: Dataset) -> None:
    set_code(item(dataset, c.SUMMARY_OF_ANALYSES), c.SUCCEEDED)


def operating_point_too_high(dataset: Dataset) -> None:
    set_number(item(dataset, c.CAD_OPERATING_POINT), 4)


def operating_point_zero(dataset: Dataset) -> None:
    set_number(item(dataset, c.CAD_OPERATING_POINT), 0)


def operating_point_on_a_required_mark(dataset: Dataset) -> None:
    point = deepcopy(item(dataset, c.CAD_OPERATING_POINT))
    item(dataset, c.RENDERING_INTENT, 1).ContentSequence = [point]


def no_maximum(dataset: Dataset) -> None:
    drop(dataset, c.MAXIMUM_OPERATING_POINT)


def recommended_above_maximum(dataset: Dataset) -> None:
    set_number(item(dataset, c.RECOMMENDED_OPERATING_POINT), 4)


def mark_stronger_than_its_container(dataset: Dataset) -> None:
    set_code(item(dataset, c.RENDERING_INTENT, 0), c.PRESENTATION_OPTIONAL)


def calcification_stronger_than_its_cluster(dataset: Dataset) -> None:
    last = [each for each in items(dataset, c.SINGLE_IMAGE_FINDING) if not each.named(c.OUTLINE)][
        -1
    ]
    set_code(last.named(c.RENDERING_INTENT)[0].dataset, c.PRESENTATION_REQUIRED)


def more_calcifications_than_stated(dataset: Dataset) -> None:
    set_number(item(dataset, c.NUMBER_OF_CALCIFICATIONS), 2)


def a_calcification_left_out(dataset: Dataset) -> None:
    cluster = item(dataset, c.SINGLE_IMAGE_FINDING)
    del cluster.ContentSequence[-1]


def changed_center(dataset: Dataset) -> None:
    item(dataset, c.CENTER).GraphicData = [30.0, 40.0]


def changed_operating_point(dataset: Dataset) -> None:
    set_number(item(dataset, c.CAD_OPERATING_POINT), 3)


def a_mark_left_out(dataset: Dataset) -> None:
    drop(dataset, c.INDIVIDUAL_IMPRESSION)


def another_kind_of_finding(dataset: Dataset) -> None:
    set_code(item(dataset, c.SINGLE_IMAGE_FINDING), c.sct("129793001", "Breast density"))


def failed_image_reported_as_analyzed(dataset: Dataset) -> None:
    performed = item(dataset, c.DETECTION_PERFORMED)
    reference = next(each for each in performed.ContentSequence if "ValueType" not in each)
    reference.ReferencedContentItemIdentifier = [1, 2, 1]


def library_out_of_order(dataset: Dataset) -> None:
    entries = item(dataset, c.IMAGE_LIBRARY).ContentSequence
    entries[1], entries[3] = entries[3], entries[1]


def no_predecessor(dataset: Dataset) -> None:
    del dataset.PredecessorDocumentsSequence


CAD: tuple[Callable[[Dataset], None], ...] = (
    dangling_reference,
    reference_to_no_image,
    shifted_tree,
    contained_by_reference,
    region_on_an_image_by_value,
    region_on_another_image,
    summary_without_findings,
    summary_of_full_success,
    no_failed_detections,
    no_summary_of_analyses,
    analyses_succeeded,
    operating_point_too_high,
    operating_point_zero,
    operating_point_on_a_required_mark,
    no_maximum,
    recommended_above_maximum,
    mark_stronger_than_its_container,
    calcification_stronger_than_its_cluster,
    more_calcifications_than_stated,
    a_calcification_left_out,
    changed_center,
    changed_operating_point,
    a_mark_left_out,
    another_kind_of_finding,
    failed_image_reported_as_analyzed,
    library_out_of_order,
    no_predecessor,
)

# ---- TID 1500 ------------------------------------------------------------------------------


def region_by_reference(dataset: Dataset) -> None:
    reference = Dataset()
    reference.RelationshipType = "SELECTED FROM"
    reference.ReferencedContentItemIdentifier = [1, 9, 1, 2]
    item(dataset, c.IMAGE_REGION).ContentSequence = [reference]


def a_group_left_out(dataset: Dataset) -> None:
    drop(dataset, c.MEASUREMENT_GROUP)


def changed_area(dataset: Dataset) -> None:
    set_number(item(dataset, c.AREA), 0.8)


MEASUREMENTS: tuple[Callable[[Dataset], None], ...] = (
    region_by_reference,
    a_group_left_out,
    changed_area,
)


def test_the_unchanged_objects_pass(
    built_cad: Dataset, built_measurements: Dataset, report: ExamReport
) -> None:
    check_mammography_cad_sr(built_cad, report)
    check_tid1500_sr(built_measurements, report)


@pytest.mark.parametrize("mutate", BOTH + CAD)
def test_a_changed_mammography_cad_sr_is_caught(
    built_cad: Dataset, report: ExamReport, mutate: Callable[[Dataset], None]
) -> None:
    mutant = deepcopy(built_cad)
    mutate(mutant)
    with pytest.raises(ResultInvalid):
        check_mammography_cad_sr(mutant, report)


@pytest.mark.parametrize("mutate", BOTH + MEASUREMENTS)
def test_a_changed_tid1500_report_is_caught(
    built_measurements: Dataset, report: ExamReport, mutate: Callable[[Dataset], None]
) -> None:
    mutant = deepcopy(built_measurements)
    mutate(mutant)
    with pytest.raises(ResultInvalid):
        check_tid1500_sr(mutant, report)


def test_a_report_that_contradicts_itself_is_refused(report: ExamReport) -> None:
    lower = replace(report.algorithm, maximum_operating_point=1)
    with pytest.raises(ResultInvalid, match="operating point"):
        MammographyCadSr(EQUIPMENT).build(replace(report, algorithm=lower))
