"""What the tables of created objects say beyond what building the objects shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cadnode.captures import MOST_ROWS
from cadnode.conformance.content import ContentRow
from cadnode.conformance.objects import AttributeRow
from cadnode.dicom.sr_marks import LISTED_CALCIFICATIONS

_COMPLETE: Final = "when the exam was complete"
_OF_IMAGE: Final = "of the image"
_DISPLAY: Final = "as the node displays the image"

ATTRIBUTES: Final[Mapping[str, str]] = {
    "AlgorithmName": "of the model",
    "AlgorithmVersion": "of the model",
    "BoundingBoxAnnotationUnits": "`PIXEL` beside a mark, `DISPLAY` for the note",
    "BoundingBoxBottomRightHandCorner": "beside its mark, or at the foot of the image",
    "BoundingBoxTextHorizontalJustification": "away from the chest wall",
    "BoundingBoxTopLeftHandCorner": "beside its mark, or at the foot of the image",
    "ContentDate": _COMPLETE,
    "ContentDescription": "view and number of marks",
    "ContentTime": _COMPLETE,
    "CurrentRequestedProcedureEvidenceSequence": "every image of the report, once",
    "DateOfSecondaryCapture": _COMPLETE,
    "Columns": "as its rows are to those of the image",
    "DerivationDescription": "view, and the model whose marks are drawn",
    "DeviceUID": "derived from `[node] ae_title` and `[node] station_name`",
    "DimensionIndexValues": "the number of the segment",
    "DimensionOrganizationUID": "derived, as other UIDs",
    "DisplayedAreaBottomRightHandCorner": "the whole image",
    "GraphicData": "closed outlines and circles, in the pixel grid of the image as received",
    "GraphicLayer": "one each for outlines, calcifications, scores and the note",
    "GraphicLayerDescription": "what the layer holds",
    "GraphicLayerOrder": "from 1",
    "GraphicObjectSequence": "when there are marks to draw in the layer",
    "GraphicType": "`POLYLINE` for an outline, `CIRCLE` for a calcification",
    "InstanceCreationDate": _COMPLETE,
    "InstanceCreationTime": _COMPLETE,
    "Laterality": "of the images it shows",
    "LUTData": _DISPLAY,
    "LUTDescriptor": _DISPLAY,
    "NumberOfFrames": "one for each mark",
    "NumberOfGraphicPoints": "of Graphic Data",
    "PixelData": "the picture, or the masks",
    "PredecessorDocumentsSequence": "when an earlier revision was sent",
    "PredecessorDocumentsSequence>ReferencedSeriesSequence>ReferencedSOPSequence"
    ">ReferencedSOPClassUID": "of the earlier document",
    "PredecessorDocumentsSequence>ReferencedSeriesSequence>ReferencedSOPSequence"
    ">ReferencedSOPInstanceUID": "of the earlier document",
    "PredecessorDocumentsSequence>ReferencedSeriesSequence>SeriesInstanceUID": "of the earlier"
    " document",
    "PresentationCreationDate": _COMPLETE,
    "PresentationCreationTime": _COMPLETE,
    "PresentationLUTShape": _DISPLAY,
    "PresentationPixelSpacing": "of the image's plane",
    "ReferencedSegmentNumber": "from 1",
    "ReferencedRequestSequence": "when the image has a Request Attributes Sequence",
    "ReferencedSOPClassUID": _OF_IMAGE,
    "ReferencedSOPInstanceUID": _OF_IMAGE,
    "Rows": f"those of the image, at most {MOST_ROWS}",
    "SOPInstanceUID": "derived, see 9.1.1.1",
    "SegmentAlgorithmName": "of the model",
    "SegmentLabel": "tracking identifier of the mark, as in the SR",
    "SegmentNumber": "from 1",
    "SeriesDate": _COMPLETE,
    "SeriesDescription": "see 9.1.1.1; from the second revision on it names the revision",
    "SeriesInstanceUID": "derived, see 9.1.1.1",
    "SeriesNumber": "that of the kind, and 10 more with every revision",
    "SeriesTime": _COMPLETE,
    "StationName": "`[node] station_name`",
    "TextObjectSequence": "when there is text in the layer",
    "TimeOfSecondaryCapture": _COMPLETE,
    "TimezoneOffsetFromUTC": "of the image, else of the node",
    "TrackingID": "of a mark, as in the SR",
    "TrackingUID": "of a mark, as in the SR",
    "VOILUTSequence": "when the image has one, or a sigmoid window",
    "UnformattedTextValue": "name and score of a mark, or the note: how many marks, of which model",
    "WindowCenter": _DISPLAY,
    "WindowWidth": _DISPLAY,
}
"""Where a value comes from, or when an attribute is there; by keyword or path of keywords."""

SAID_OTHERWISE: Final[Mapping[str, str]] = {"SoftwareVersions": "the version of the program"}
"""Of fixed values that are better said in words."""

_TOLD: Final = "when the image tells it"

CONTENT: Final[Mapping[str, str]] = {
    "CAD Operating Point": "on Presentation Optional, for a cluster above operating point 0",
    "Content Date": _TOLD,
    "Content Time": _TOLD,
    "Failed Detections": "when an image failed",
    "Horizontal Pixel Spacing": "when the file of a failed image can be read",
    "Image Laterality": _TOLD,
    "Image View": _TOLD,
    "Image View Modifier": "those of CID 4015 that the image tells",
    "Individual Impression/Recommendation": "one for each cluster",
    "Maximum CAD Operating Point": "for clusters, when the model has several operating points",
    "Number of calcifications": "when single calcifications were located",
    "Patient Orientation Column": _TOLD,
    "Patient Orientation Row": _TOLD,
    "Pixel Data Columns": "when the file of a failed image can be read",
    "Pixel Data Rows": "when the file of a failed image can be read",
    "Positioner Primary Angle": _TOLD,
    "Positioner Secondary Angle": _TOLD,
    "Recommended CAD Operating Point": "for clusters, when the model has several operating points",
    "Single Image Finding": "the calcifications of the cluster that stand out most, at most"
    f" {LISTED_CALCIFICATIONS}",
    "Study Date": _TOLD,
    "Study Time": _TOLD,
    "Successful Detections": "when an image was analyzed",
    "Vertical Pixel Spacing": "when the file of a failed image can be read",
}
"""When a content item that is not always there is there, by the meaning of its concept name."""


def of_attribute(row: AttributeRow) -> str:
    """The note on an attribute; empty where its value or its image says all."""
    if row.source in ("COPY", "FIXED"):
        return SAID_OTHERWISE.get(row.path[-1], "")
    return ATTRIBUTES.get(">".join(row.path)) or ATTRIBUTES.get(row.path[-1], "")


def of_content(row: ContentRow) -> str:
    """The note on a content item that is not always there."""
    if row.concept is None or not row.multiplicity.startswith("0"):
        return ""
    return CONTENT.get(row.concept.meaning, "")
