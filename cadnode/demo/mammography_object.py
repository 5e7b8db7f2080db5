"""A digitised film as a Digital Mammography X-Ray Image Storage - For Presentation object.

PS3.3 A.27: the DX modules with the mammography ones, written from what is known of the film. Type 2
attributes that nobody knows stay empty; nothing is made up.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation
from pydicom.valuerep import VR

from cadnode import __version__
from cadnode.core.uids import derive_uid
from cadnode.demo.attribution import ATTRIBUTION, COLLECTION
from cadnode.demo.film import FilmDigitizer

# Row and column direction of each view as these films lie (PS3.3 C.8.11.7.1.1): read off the
# pictures. The films are not mirrored (their lead letters can be read), the chest wall is at the
# right edge for the right breast and at the left edge for the left one.
PATIENT_ORIENTATION = {
    "RCC": ("P", "L"),
    "LCC": ("A", "R"),
    "RMLO": ("P", "FL"),
    "LMLO": ("A", "FR"),
}

VIEW_CODES = {
    "CC": codes.CID4014.CranioCaudal,
    "MLO": codes.CID4014.MedioLateralObliqueProjection,
}


@dataclass(frozen=True, slots=True)
class Film:
    """One digitised film and its place in the exam."""

    source: Dataset
    """The Secondary Capture object of the collection."""
    laterality: str
    view: str
    patient_id: str
    study_instance_uid: str
    study_date: str
    study_time: str
    instance_number: int
    digitizer: FilmDigitizer
    window: tuple[int, int]
    """Lowest and highest pixel value shown."""

    @property
    def view_name(self) -> str:
        return f"{self.laterality}{self.view}"


def mammography_object(film: Film) -> Dataset:
    """The object, with the pixel data of the collection as it is, ready to be saved.

    The pixel data is not decoded and encoded again: its bytes and transfer syntax are the source's.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    dataset.file_meta.TransferSyntaxUID = film.source.file_meta.TransferSyntaxUID
    _patient_and_study(dataset, film)
    _series_and_equipment(dataset, film)
    _anatomy(dataset, film)
    _acquisition(dataset, film)
    _image(dataset, film)
    _derivation(dataset, film)
    _pixels(dataset, film)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _patient_and_study(dataset: Dataset, film: Film) -> None:
    # The caret: one component group in the five-component form of PS3.5 6.2.1.
    dataset.PatientName = f"{film.patient_id}^"
    dataset.PatientID = film.patient_id
    dataset.IssuerOfPatientID = COLLECTION
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = f"as published in {COLLECTION}"
    dataset.StudyInstanceUID = film.study_instance_uid
    dataset.StudyID = "DDSM"
    # The collection's own dates: when it was made, not when the films were exposed.
    dataset.StudyDate, dataset.StudyTime = film.study_date, film.study_time
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Screening mammography, digitised films"


def _series_and_equipment(dataset: Dataset, film: Film) -> None:
    dataset.Modality = "MG"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.SeriesInstanceUID = derive_uid("demo series", film.study_instance_uid)
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "Digitised films"
    dataset.Manufacturer = "cadnode"
    dataset.ManufacturerModelName = "cadnode demo"
    dataset.SoftwareVersions = __version__
    scanner = Dataset()
    scanner.PurposeOfReferenceCodeSequence = [_code(codes.CID7005.FilmDigitizer)]
    scanner.Manufacturer = film.digitizer.manufacturer
    scanner.ManufacturerModelName = film.digitizer.model
    scanner.ContributionDescription = "Told from the distance of the pixel values"
    dataset.ContributingEquipmentSequence = [scanner]


def _anatomy(dataset: Dataset, film: Film) -> None:
    dataset.BodyPartExamined = "BREAST"
    dataset.OrganExposed = "BREAST"
    dataset.ImageLaterality = film.laterality
    dataset.AnatomicRegionSequence = [_code(codes.SCT.Breast)]
    view = _code(VIEW_CODES[film.view])
    view.ViewModifierCodeSequence = []
    dataset.ViewCodeSequence = [view]
    dataset.PatientOrientation = list(PATIENT_ORIENTATION[film.view_name])


def _acquisition(dataset: Dataset, film: Film) -> None:
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.AcquisitionContextSequence = []
    dataset.DetectorType = "FILM"
    dataset.DetectorConfiguration = "AREA"
    dataset.DetectorDescription = "Screen-film, digitised"
    dataset.ImagerPixelSpacing = [film.digitizer.pitch_mm, film.digitizer.pitch_mm]


def _image(dataset: Dataset, film: Film) -> None:
    dataset.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    dataset.SOPInstanceUID = derive_uid("demo image", str(film.source.SOPInstanceUID))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.InstanceNumber = film.instance_number
    dataset.ContentDate = film.source.get("ContentDate", "")
    dataset.ContentTime = film.source.get("ContentTime", "")
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    # Pixel values are linear in optical density, falling: LOG of the exposure, bright where little
    # of it arrived.
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = "IDENTITY"
    low, high = film.window
    dataset.WindowCenter = str((low + high + 1) // 2)
    dataset.WindowWidth = str(high - low + 1)
    dataset.WindowCenterWidthExplanation = "Breast"
    dataset.VOILUTFunction = "LINEAR"


def _derivation(dataset: Dataset, film: Film) -> None:
    # Not a Source Image Sequence: that would promise an object which no archive of the demo has.
    dataset.DerivationDescription = (
        f"Digitised film. Rebuilt for a demonstration from {COLLECTION}, SOP Instance UID"
        f" {film.source.SOPInstanceUID} (a Secondary Capture without pixel spacing)."
        " Pixel values unchanged: 0 to 65535 for optical densities 3.00 to 0.05. Pixel spacing is"
        f" the nominal {film.digitizer.pitch_mm * 1000:g} um of the film digitizer."
    )
    dataset.ImageComments = ATTRIBUTION


def _pixels(dataset: Dataset, film: Film) -> None:
    for keyword in (
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
    ):
        setattr(dataset, keyword, film.source[keyword].value)
    dataset.PixelData = film.source.PixelData
    # PS3.5 A.4: encapsulated pixel data is OB, whatever the collection's own files say.
    dataset["PixelData"].VR = VR.OB
    dataset["PixelData"].is_undefined_length = True


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
