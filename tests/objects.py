"""Made-up but valid DICOM objects to test with: mammograms in every shape a sender may use.

`mammogram()` stores a picture (float 0..1 as it should be displayed) so that a reader that follows
the object's VOI, photometric interpretation and LUTs gets that picture back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from cadnode.core.uids import derive_uid
from tests.codecs import LOSSLESS_SYNTAXES, encode
from tests.pictures import Picture, add_cluster, breast_phantom, flip, flip_points
from tests.storing import GammaLut, Sigmoid, Voi, Window, add_voi, stored_values
from tests.tomosynthesis import add_volume

__all__ = [
    "LOSSLESS_SYNTAXES",
    "SCREENING_VIEWS",
    "GammaLut",
    "Sigmoid",
    "Window",
    "add_cluster",
    "breast_phantom",
    "code",
    "flip",
    "flip_points",
    "four_views",
    "mammogram",
    "secondary_capture",
    "tomosynthesis",
    "write",
]

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
BREAST_TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

SCREENING_VIEWS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))

VIEWS = {
    "CC": ("399162004", "R-10242", "cranio-caudal"),
    "MLO": ("399368009", "R-10226", "medio-lateral oblique"),
    "ML": ("399260004", "R-10224", "medio-lateral"),
    "LM": ("399352003", "R-10228", "latero-medial"),
    "LMO": ("399099002", "R-10230", "latero-medial oblique"),
    "FB": ("399196006", "R-10244", "caudo-cranial (from below)"),
    "SIO": ("399188001", "R-102D0", "superolateral to inferomedial oblique"),
    "ISO": ("441555000", "R-40AAA", "inferomedial to superolateral oblique"),
    "XCCL": ("399192008", "R-1024A", "cranio-caudal exaggerated laterally"),
    "XCCM": ("399101009", "R-1024B", "cranio-caudal exaggerated medially"),
    "SPECIMEN": ("127457009", "G-8310", "tissue specimen from breast"),
}
"""CID 4014: SCT code, SRT code, meaning."""

MODIFIERS = {
    "magnification": ("399163009", "R-102D6", "Magnification"),
    "spot compression": ("399055006", "R-102D7", "Spot Compression"),
    "implant displaced": ("399209000", "R-102D5", "Implant Displaced"),
    "axillary tail": ("399011000", "R-102D1", "Axillary Tail"),
    "cleavage": ("399161006", "R-102D2", "Cleavage"),
    "rolled lateral": ("399197002", "R-102D3", "Rolled Lateral"),
    "rolled medial": ("399226006", "R-102D4", "Rolled Medial"),
    "nipple in profile": ("442581004", "R-40AB3", "Nipple in profile"),
    "tangential": ("399110001", "R-102C2", "tangential"),
}
"""CID 4015: SCT code, SRT code, meaning."""


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def mammogram(
    picture: Picture | None = None,
    *,
    laterality: str | None = "R",
    view: str | None = "CC",
    coding: str = "SCT",
    modifiers: Iterable[str] = (),
    rows: int = 96,
    columns: int = 80,
    spacing_mm: float | tuple[float, float] | None = 0.07,
    spacing_attribute: str | None = "ImagerPixelSpacing",
    photometric: str = "MONOCHROME2",
    voi: Voi | Sequence[Voi] | None = None,
    presentation_lut_shape: str | None = "",
    padding_value: int | None = None,
    padding_range_limit: int | None = None,
    padding_mask: NDArray[np.bool_] | None = None,
    bits_stored: int = 12,
    bits_allocated: int = 16,
    for_processing: bool = False,
    relationship: str = "LOG",
    relationship_sign: int | None = None,
    source_uid: str | None = None,
    orientation: str = "",
    implant: bool | None = False,
    magnification_factor: float | None = 1.05,
    image_type: Sequence[str] | None = None,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    instance_number: int = 1,
    patient_id: str | None = "TEST-0001",
    patient_name: str | None = "Test^Object",
    character_set: str | None = "ISO_IR 100",
    seed: int = 0,
) -> Dataset:
    """A Digital Mammography X-Ray Image that shows `picture` (default: a breast phantom).

    `coding` says how the view is told: "SCT", "SRT", or "text" for View Position alone (then
    the View Code Sequence, type 1, is left out on purpose). `voi` is one VOI or several in order;
    None is a window over all stored values; an empty tuple is no VOI at all.
    `orientation` ("", "h", "v", "hv") flips picture, mask and Patient Orientation together.
    `presentation_lut_shape` "" gives the one that fits `photometric`, None leaves it out.
    """
    if picture is None:
        picture = breast_phantom(rows, columns, 0.07, seed, laterality or "R")
    picture = flip(picture, orientation).astype(np.float32)
    rows, columns = picture.shape
    if voi is None:
        voi = Window.whole(bits_stored)
    vois = (voi,) if isinstance(voi, Window | Sigmoid | GammaLut) else tuple(voi)
    sign = relationship_sign if relationship_sign is not None else (1 if for_processing else -1)
    values = stored_values(
        picture,
        voi=vois[0] if vois and not for_processing else None,
        inverse=photometric == "MONOCHROME1" or presentation_lut_shape == "INVERSE",
        bits_stored=bits_stored,
        raw=(relationship, sign) if for_processing else None,
    )
    if padding_value is not None and padding_mask is not None:
        values = np.where(flip(padding_mask, orientation), padding_value, values).astype(np.uint16)

    sop_class = FOR_PROCESSING if for_processing else FOR_PRESENTATION
    dataset = _common(
        sop_class,
        study_uid,
        series_uid or derive_uid("series", study_uid or "test-study", sop_class),
        sop_uid or derive_uid(str(study_uid), sop_class, str((laterality, view, instance_number))),
        instance_number,
        patient_id,
        patient_name,
        character_set,
    )
    dataset.Modality = "MG"
    dataset.PresentationIntentType = "FOR PROCESSING" if for_processing else "FOR PRESENTATION"
    dataset.ImageType = list(
        image_type or (["ORIGINAL", "PRIMARY"] if for_processing else ["DERIVED", "PRIMARY"])
    )
    if source_uid is not None:
        dataset.SourceImageSequence = [_source(source_uid)]
    _acquisition(dataset, implant, magnification_factor)
    _position(dataset, laterality, view, coding, tuple(modifiers), orientation)
    _pixels(dataset, values, bits_stored, bits_allocated, photometric)
    dataset.PixelIntensityRelationship = relationship
    dataset.PixelIntensityRelationshipSign = sign
    if padding_value is not None:
        dataset.PixelPaddingValue = padding_value
    if padding_range_limit is not None:
        dataset.PixelPaddingRangeLimit = padding_range_limit
    add_voi(dataset, () if for_processing else vois, bits_stored)
    fitting = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    if presentation_lut_shape is not None:
        dataset.PresentationLUTShape = presentation_lut_shape or fitting
    if spacing_mm is not None and spacing_attribute is not None:
        pair = spacing_mm if isinstance(spacing_mm, tuple) else (spacing_mm, spacing_mm)
        setattr(dataset, spacing_attribute, list(pair))
    encode(dataset, transfer_syntax_uid)
    return dataset


def four_views(
    *,
    study_uid: str | None = None,
    pictures: dict[str, Picture] | None = None,
    views: Sequence[tuple[str, str]] = SCREENING_VIEWS,
    **options: Any,
) -> list[Dataset]:
    """RCC, LCC, RMLO and LMLO of one exam; `pictures` by view name, `options` go to each."""
    study_uid = study_uid or derive_uid("test-study")
    return [
        mammogram(
            (pictures or {}).get(f"{laterality}{view}"),
            laterality=laterality,
            view=view,
            study_uid=study_uid,
            instance_number=number,
            **{"seed": number, **options},
        )
        for number, (laterality, view) in enumerate(views, start=1)
    ]


def secondary_capture(
    *,
    rgb: bool = False,
    modality: str = "MG",
    study_uid: str | None = None,
    sop_uid: str | None = None,
    patient_id: str | None = "TEST-0001",
) -> Dataset:
    """A Secondary Capture of 32 x 24 pixels of 8 bits, grey or RGB."""
    dataset = _common(
        SECONDARY_CAPTURE,
        study_uid,
        derive_uid("series", str(study_uid), SECONDARY_CAPTURE),
        sop_uid or derive_uid(str(study_uid), SECONDARY_CAPTURE),
        1,
        patient_id,
        "Test^Object",
        "ISO_IR 100",
    )
    dataset.Modality = modality
    dataset.ConversionType, dataset.Laterality = "WSD", None
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.PatientOrientation = None
    dataset.Rows, dataset.Columns = 32, 24
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 3 if rgb else 1
    dataset.PhotometricInterpretation = "RGB" if rgb else "MONOCHROME2"
    if rgb:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = bytes(range(256)) * 3 * (3 if rgb else 1)
    dataset["PixelData"].VR = "OB"
    return dataset


def tomosynthesis(
    *,
    laterality: str = "R",
    study_uid: str | None = None,
    sop_uid: str | None = None,
    frames: int = 4,
    rows: int = 32,
    columns: int = 24,
) -> Dataset:
    """A small Breast Tomosynthesis volume with its functional groups."""
    dataset = _common(
        BREAST_TOMOSYNTHESIS,
        study_uid,
        derive_uid("series", str(study_uid), BREAST_TOMOSYNTHESIS),
        sop_uid or derive_uid(str(study_uid), BREAST_TOMOSYNTHESIS, laterality),
        1,
        "TEST-0001",
        "Test^Object",
        "ISO_IR 100",
    )
    values = stored_values(
        breast_phantom(rows, columns, 0.1, 0, laterality), Window.whole(12), False, 12, None
    )
    add_volume(dataset, np.stack([values] * frames), laterality)
    return dataset


def write(dataset: Dataset, path: Path) -> Path:
    """Write `dataset` as a DICOM file (PS3.10); returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _common(
    sop_class_uid: str,
    study_uid: str | None,
    series_uid: str,
    sop_uid: str,
    instance_number: int,
    patient_id: str | None,
    patient_name: str | None,
    character_set: str | None,
) -> Dataset:
    """Patient, study, series, equipment and SOP common modules."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set.split("\\")
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, sop_uid
    dataset.StudyInstanceUID = study_uid or derive_uid("test-study")
    dataset.SeriesInstanceUID = series_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20240102"
    dataset.AcquisitionDate = "20240102"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101500"
    dataset.AcquisitionTime = "101500"
    dataset.AccessionNumber, dataset.StudyID = "A1", "1"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Screening mammography"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Test Maker", "Test Unit"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, instance_number
    if patient_name is not None:
        dataset.PatientName = patient_name
    if patient_id is not None:
        dataset.PatientID = patient_id
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19600101", "F", "064Y"
    return dataset


def _source(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = FOR_PROCESSING, uid
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [
        code("121321", "DCM", "Mask image for image processing operation")
    ]
    return item


def _acquisition(dataset: Dataset, implant: bool | None, magnification: float | None) -> None:
    dataset.KVP, dataset.BodyPartThickness, dataset.CompressionForce = 28, 55, 100
    dataset.DetectorType, dataset.DetectorConfiguration = "DIRECT", "AREA"
    dataset.DetectorID, dataset.DateOfLastDetectorCalibration = "1", "20240101"
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.PositionerPrimaryAngle = 0
    dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient = 650, 640
    dataset.OrganExposed = "BREAST"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.AcquisitionContextSequence = []
    dataset.AnatomicRegionSequence = [code("76752008", "SCT", "Breast")]
    dataset.BodyPartExamined = "BREAST"
    dataset.PartialView = "NO"
    if implant is not None:
        dataset.BreastImplantPresent = "YES" if implant else "NO"
    if magnification is not None:
        dataset.EstimatedRadiographicMagnificationFactor = magnification


def _position(
    dataset: Dataset,
    laterality: str | None,
    view: str | None,
    coding: str,
    modifiers: tuple[str, ...],
    orientation: str,
) -> None:
    if laterality is not None:
        dataset.ImageLaterality = laterality
    dataset.PatientOrientation = _patient_orientation(laterality or "R", view or "CC", orientation)
    if view is None:
        return
    if view in VIEWS and view != "SPECIMEN":
        dataset.ViewPosition = view
    if coding == "text":
        dataset.ViewPosition = view
        return
    column = ("SCT", "SRT").index(coding)
    item = code(VIEWS[view][column], coding, VIEWS[view][2])
    item.ViewModifierCodeSequence = [
        code(MODIFIERS[name][column], coding, MODIFIERS[name][2]) for name in modifiers
    ]
    dataset.ViewCodeSequence = [item]


def _patient_orientation(laterality: str, view: str, orientation: str) -> list[str]:
    """Where the rows and columns of the picture run to (PS3.3 C.7.6.1.1.1)."""
    opposite = {"A": "P", "P": "A", "R": "L", "L": "R", "F": "H", "H": "F"}
    along_row = "P" if laterality == "R" else "A"
    medial = "L" if laterality == "R" else "R"
    along_column = {"CC": medial, "ML": "F", "LM": "F"}.get(view, f"F{medial}")
    if "h" in orientation:
        along_row = opposite[along_row]
    if "v" in orientation:
        along_column = "".join(opposite[letter] for letter in along_column)
    return [along_row, along_column]


def _pixels(
    dataset: Dataset,
    values: NDArray[np.uint16],
    bits_stored: int,
    bits_allocated: int,
    photometric: str,
) -> None:
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated, dataset.BitsStored = bits_allocated, bits_stored
    dataset.HighBit, dataset.PixelRepresentation = bits_stored - 1, 0
    content = values.astype("<u2" if bits_allocated == 16 else "u1").tobytes()
    dataset.PixelData = content + b"\x00" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if bits_allocated == 16 else "OB"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.QualityControlImage = "NO"
