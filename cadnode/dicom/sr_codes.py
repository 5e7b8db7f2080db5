"""The coded concepts of the result objects, with the meanings of the standard (PS3.16).

SNOMED CT codes carry the `SCT` designator. Codes read from other objects may still be the SNOMED-RT
ones that `SCT` replaced (PS3.16 8.1.1); `same_code` and `member` see them as equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code

from cadnode.core.mammogram import Laterality


def dcm(value: str, meaning: str) -> Code:
    """A code of the DICOM controlled terminology (PS3.16 Annex D)."""
    return Code(value, "DCM", meaning)


def sct(value: str, meaning: str) -> Code:
    """A SNOMED CT code."""
    return Code(value, "SCT", meaning)


def ucum(value: str, meaning: str) -> Code:
    """A unit of measurement."""
    return Code(value, "UCUM", meaning)


# Documents and their parts
MAMMOGRAPHY_CAD_REPORT: Final = dcm("111036", "Mammography CAD Report")
IMAGING_MEASUREMENT_REPORT: Final = dcm("126000", "Imaging Measurement Report")
LANGUAGE: Final = dcm("121049", "Language of Content Item and Descendants")
ENGLISH: Final = Code("en-US", "RFC5646", "English (United States)")
IMAGE_LIBRARY: Final = dcm("111028", "Image Library")
IMAGE_LIBRARY_GROUP: Final = dcm("126200", "Image Library Group")
SOURCE: Final = sct("260753009", "Source")

# TID 4020, image library entry
IMAGE_LATERALITY: Final = dcm("111027", "Image Laterality")
IMAGE_VIEW: Final = dcm("111031", "Image View")
IMAGE_VIEW_MODIFIER: Final = dcm("111032", "Image View Modifier")
PATIENT_ORIENTATION_ROW: Final = dcm("111044", "Patient Orientation Row")
PATIENT_ORIENTATION_COLUMN: Final = dcm("111043", "Patient Orientation Column")
STUDY_DATE: Final = dcm("111060", "Study Date")
STUDY_TIME: Final = dcm("111061", "Study Time")
CONTENT_DATE: Final = dcm("111018", "Content Date")
CONTENT_TIME: Final = dcm("111019", "Content Time")
HORIZONTAL_PIXEL_SPACING: Final = dcm("111026", "Horizontal Pixel Spacing")
VERTICAL_PIXEL_SPACING: Final = dcm("111066", "Vertical Pixel Spacing")
POSITIONER_PRIMARY_ANGLE: Final = dcm("112011", "Positioner Primary Angle")
POSITIONER_SECONDARY_ANGLE: Final = dcm("112012", "Positioner Secondary Angle")
PIXEL_DATA_ROWS: Final = dcm("110910", "Pixel Data Rows")
PIXEL_DATA_COLUMNS: Final = dcm("110911", "Pixel Data Columns")
MODALITY: Final = dcm("121139", "Modality")
MAMMOGRAPHY: Final = dcm("MG", "Mammography")

# Summaries (TID 4000, 4001, 4015)
FINDINGS_SUMMARY: Final = dcm("111017", "CAD Processing and Findings Summary")
ALL_WITHOUT_FINDINGS: Final = dcm("111241", "All algorithms succeeded; without findings")
ALL_WITH_FINDINGS: Final = dcm("111242", "All algorithms succeeded; with findings")
SOME_WITHOUT_FINDINGS: Final = dcm("111243", "Not all algorithms succeeded; without findings")
SOME_WITH_FINDINGS: Final = dcm("111244", "Not all algorithms succeeded; with findings")
NONE_SUCCEEDED: Final = dcm("111245", "No algorithms succeeded; without findings")
SUMMARY_OF_DETECTIONS: Final = dcm("111064", "Summary of Detections")
SUMMARY_OF_ANALYSES: Final = dcm("111065", "Summary of Analyses")
SUCCEEDED: Final = dcm("111222", "Succeeded")
PARTIALLY_SUCCEEDED: Final = dcm("111223", "Partially Succeeded")
FAILED: Final = dcm("111224", "Failed")
NOT_ATTEMPTED: Final = dcm("111225", "Not Attempted")
SUCCESSFUL_DETECTIONS: Final = dcm("111063", "Successful Detections")
FAILED_DETECTIONS: Final = dcm("111025", "Failed Detections")
DETECTION_PERFORMED: Final = dcm("111022", "Detection Performed")

# Findings (TID 4003, 4006, 4010, 4019, 4021, 4023, 4108)
INDIVIDUAL_IMPRESSION: Final = dcm("111034", "Individual Impression/Recommendation")
SINGLE_IMAGE_FINDING: Final = dcm("111059", "Single Image Finding")
CALCIFICATION_CLUSTER: Final = sct("129769006", "Calcification Cluster")
INDIVIDUAL_CALCIFICATION: Final = sct("129770007", "Individual Calcification")
RENDERING_INTENT: Final = dcm("111056", "Rendering Intent")
PRESENTATION_REQUIRED: Final = dcm(
    "111150", "Presentation Required: Rendering device is expected to present"
)
PRESENTATION_OPTIONAL: Final = dcm("111151", "Presentation Optional: Rendering device may present")
NOT_FOR_PRESENTATION: Final = dcm(
    "111152", "Not for Presentation: Rendering device expected not to present"
)
CAD_OPERATING_POINT: Final = dcm("111071", "CAD Operating Point")
MAXIMUM_OPERATING_POINT: Final = dcm("111072", "Maximum CAD Operating Point")
RECOMMENDED_OPERATING_POINT: Final = dcm("111092", "Recommended CAD Operating Point")
TRACKING_IDENTIFIER: Final = dcm("112039", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER: Final = dcm("112040", "Tracking Unique Identifier")
ALGORITHM_NAME: Final = dcm("111001", "Algorithm Name")
ALGORITHM_VERSION: Final = dcm("111003", "Algorithm Version")
ALGORITHM_MANUFACTURER: Final = dcm("122405", "Algorithm Manufacturer")
ALGORITHM_PARAMETERS: Final = dcm("111002", "Algorithm Parameters")
CERTAINTY_OF_FINDING: Final = dcm("111012", "Certainty of Finding")
CENTER: Final = dcm("111010", "Center")
OUTLINE: Final = dcm("111041", "Outline")
NUMBER_OF_CALCIFICATIONS: Final = dcm("111038", "Number of calcifications")
DIAMETER: Final = sct("81827009", "Diameter")

# TID 1500 and what it includes
OBSERVER_TYPE: Final = dcm("121005", "Observer Type")
DEVICE: Final = dcm("121007", "Device")
DEVICE_OBSERVER_UID: Final = dcm("121012", "Device Observer UID")
DEVICE_OBSERVER_NAME: Final = dcm("121013", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER: Final = dcm("121014", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL_NAME: Final = dcm("121015", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL_NUMBER: Final = dcm("121016", "Device Observer Serial Number")
PROCEDURE_REPORTED: Final = dcm("121058", "Procedure reported")
IMAGING_PROCEDURE: Final = sct("363679005", "Imaging procedure")
IMAGING_MEASUREMENTS: Final = dcm("126010", "Imaging Measurements")
MEASUREMENT_GROUP: Final = dcm("125007", "Measurement Group")
FINDING_CATEGORY: Final = sct("276214006", "Finding category")
ABNORMAL_STRUCTURE: Final = sct("49755003", "Morphologically Abnormal Structure")
FINDING: Final = dcm("121071", "Finding")
FINDING_SITE: Final = sct("363698007", "Finding Site")
AREA: Final = sct("42798000", "Area")
GEOMETRIC_PURPOSE: Final = dcm("130400", "Geometric purpose of region")
IMAGE_REGION: Final = dcm("111030", "Image Region")

# Units; the ranges are literal patterns (TID 4006, 4023)
PERCENT: Final = ucum("%", "Percent")
NO_UNITS: Final = ucum("1", "no units")
MILLIMETER: Final = ucum("mm", "millimeter")
SQUARE_MILLIMETER: Final = ucum("mm2", "square millimeter")
DEGREES: Final = ucum("deg", "degrees")
PIXELS: Final = ucum("{pixels}", "Pixels")
ARBITRARY_UNIT: Final = ucum("[arb'U]", "arbitrary unit")
FROM_ONE: Final = ucum("{1:n}", "range: 1:n")
FROM_ZERO: Final = ucum("{0:n}", "range: 0:n")

SIDES: Final = {
    "R": sct("73056007", "Right breast"),
    "L": sct("80248007", "Left breast"),
    "B": sct("63762007", "Both breasts"),
}
"""CID 6022 by Image Laterality (0020,0062)."""

LATERALITIES: Final = {
    "R": sct("24028007", "Right"),
    "L": sct("7771000", "Left"),
    "B": sct("51440002", "Right and left"),
}
"""CID 244, which TID 1602 wants where TID 4020 wants CID 6022."""

VIEWS: Final = {
    "CC": sct("399162004", "cranio-caudal"),
    "MLO": sct("399368009", "medio-lateral oblique"),
    "ML": sct("399260004", "medio-lateral"),
    "LM": sct("399352003", "latero-medial"),
    "LMO": sct("399099002", "latero-medial oblique"),
    "FB": sct("399196006", "caudo-cranial (from below)"),
    "SIO": sct("399188001", "superolateral to inferomedial oblique"),
    "ISO": sct("441555000", "inferomedial to superolateral oblique"),
    "XCCL": sct("399192008", "cranio-caudal exaggerated laterally"),
    "XCCM": sct("399101009", "cranio-caudal exaggerated medially"),
    "SPECIMEN": sct("127457009", "tissue specimen from breast"),
}
"""CID 4014 by the short name of the view, which is also its View Position (0018,5101)."""

VIEW_MODIFIERS: Final = (
    sct("399161006", "Cleavage"),
    sct("399011000", "Axillary Tail"),
    sct("399197002", "Rolled Lateral"),
    sct("399226006", "Rolled Medial"),
    sct("414493004", "Rolled Inferior"),
    sct("415670009", "Rolled Superior"),
    sct("399209000", "Implant Displaced"),
    sct("399163009", "Magnification"),
    sct("399055006", "Spot Compression"),
    sct("399110001", "Tangential"),
    sct("442581004", "Nipple in profile"),
    sct("441752004", "Anterior compression"),
    sct("442593008", "Infra-mammary fold"),
    sct("442580003", "Axillary tissue"),
)
"""CID 4015."""

# Older designators of SNOMED-RT codes (PS3.16 8.1.1).
_SNOMED_RT: Final = frozenset({"SRT", "SNM3", "99SDM"})


def read_code(item: Dataset) -> Code | None:
    """The code in an item of a code sequence, or None when value or designator is missing."""
    for keyword in ("CodeValue", "LongCodeValue", "URNCodeValue"):
        value = item.get(keyword)
        if value:
            break
    else:
        return None
    scheme = item.get("CodingSchemeDesignator")
    if not scheme:
        return None
    scheme = "SRT" if str(scheme) in _SNOMED_RT else str(scheme)
    return Code(str(value), scheme, str(item.get("CodeMeaning") or ""))


def same_code(code: Code | None, other: Code) -> bool:
    """True when both name the same concept, whichever SNOMED edition they are written in."""
    if code is None:
        return False
    if "SRT" in (code.scheme_designator, other.scheme_designator):
        return bool(code == other)
    return (code.value, code.scheme_designator) == (other.value, other.scheme_designator)


def member(code: Code | None, group: Iterable[Code]) -> Code | None:
    """The code of `group` that `code` names, as the standard writes it, or None."""
    return next((candidate for candidate in group if same_code(code, candidate)), None)


def laterality_of(code: Code | None) -> Laterality | None:
    """The breast that a code of CID 6022 or 244 names; None for both breasts or another code."""
    for side in Laterality:
        if same_code(code, SIDES[side]) or same_code(code, LATERALITIES[side]):
            return side
    return None


def view_of(code: Code | None) -> str | None:
    """The short name of a view of CID 4014, or None."""
    return next((name for name, view in VIEWS.items() if same_code(code, view)), None)
