"""The functional groups of a small Breast Tomosynthesis volume (PS3.3 A.55)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def add_volume(dataset: Dataset, values: NDArray[np.uint16], laterality: str) -> None:
    """Put frames of shape (frames, rows, columns) and what describes them into `dataset`."""
    frames, rows, columns = values.shape
    dataset.Modality = "MG"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "TOMOSYNTHESIS", "NONE"]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames, rows, columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionDateTime = "20240102101500"
    dataset.AcquisitionNumber = 1
    dataset.VolumetricProperties = "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ContentQualification = "RESEARCH"
    dataset.PositionReferenceIndicator = ""
    dataset.FrameOfReferenceUID = dataset.StudyInstanceUID + ".1"
    dataset.DetectorType, dataset.BreastImplantPresent = "DIRECT", "NO"
    dataset.PixelPresentation = "MONOCHROME"
    dataset.AcquisitionContextSequence = []
    view = _code("399162004", "SCT", "cranio-caudal")
    view.ViewModifierCodeSequence = []
    dataset.ViewCodeSequence = [view]
    dataset.InstanceNumber = 1
    dataset.DimensionOrganizationSequence = [
        _item(DimensionOrganizationUID=dataset.StudyInstanceUID + ".2")
    ]
    dataset.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=dataset.StudyInstanceUID + ".2",
            DimensionIndexPointer=0x00209057,
            FunctionalGroupPointer=0x00209111,
        )
    ]
    dataset.SharedFunctionalGroupsSequence = [_shared(laterality)]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(1, frames + 1)]
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _shared(laterality: str) -> Dataset:
    return _item(
        PixelMeasuresSequence=[_item(PixelSpacing=[0.1, 0.1], SliceThickness=1)],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=[0, -1, 0, 0, 0, -1])],
        FrameAnatomySequence=[
            _item(
                FrameLaterality=laterality,
                AnatomicRegionSequence=[_code("76752008", "SCT", "Breast")],
            )
        ],
        PixelValueTransformationSequence=[
            _item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")
        ],
        FrameVOILUTSequence=[_item(WindowCenter=2048, WindowWidth=4096)],
    )


def _frame(number: int) -> Dataset:
    return _item(
        FrameContentSequence=[
            _item(
                FrameAcquisitionNumber=1,
                FrameReferenceDateTime="20240102101500",
                FrameAcquisitionDateTime="20240102101500",
                FrameAcquisitionDuration=1000,
                DimensionIndexValues=number,
                StackID="1",
                InStackPositionNumber=number,
            )
        ],
        PlanePositionSequence=[_item(ImagePositionPatient=[0, 0, float(number)])],
        XRay3DFrameTypeSequence=[
            _item(
                FrameType=["ORIGINAL", "PRIMARY", "TOMOSYNTHESIS", "NONE"],
                VolumetricProperties="VOLUME",
                VolumeBasedCalculationTechnique="NONE",
                PixelPresentation="MONOCHROME",
            )
        ],
    )
