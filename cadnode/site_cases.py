"""A site's images with what is known about them, as the cases that training and measuring take.

A source is a folder: of DICOM images with annotations (a CSV, mask pictures, or SR objects that
lie among them), or the mini-MIAS collection with its `Info.txt`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread

from cadnode.core.annotations import Annotation, Case
from cadnode.core.eligibility import judge
from cadnode.core.errors import ConfigError, ImageFailed
from cadnode.core.mammogram import ImageHeader
from cadnode.core.ports import MammogramReader
from cadnode.dicom.files import PARSE_ERRORS
from cadnode.dicom.site_facts import vendor_and_age
from cadnode.dicom.sr_reader import read_report
from cadnode.training import mini_mias
from cadnode.training.annotation_files import read_csv, read_groups, read_mask

SR_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.88.50",  # Mammography CAD SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    }
)

Known = dict[str, tuple[Annotation, ...]]
"""Annotations by SOP Instance UID; an image without one is not in it, a normal one is, empty."""


@dataclass(slots=True)
class SiteCases:
    """The usable images of some folders; iterate to read them one at a time, as often as wanted."""

    reader: MammogramReader
    images: list[tuple[Path, ImageHeader]] = field(default_factory=list)
    known: Known = field(default_factory=dict)
    groups: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """By SOP Instance UID what the annotations say besides (`density`, ...)."""
    collections: list[Path] = field(default_factory=list)
    """Folders with `Info.txt`."""
    passed_over: list[str] = field(default_factory=list)
    """One line for each image that is not used, with its reason."""

    def add(self, path: Path, header: ImageHeader, analyzed_views: frozenset[str]) -> None:
        """Take one image in, or pass it over with its reason."""
        reason = judge(header, analyzed_views=analyzed_views)
        if reason is not None:
            self._pass_over(path, f"{reason.code} {reason.text}")
        elif header.sop_instance_uid not in self.known:
            self._pass_over(path, "no annotation names it")
        else:
            self.images.append((path, header))

    def __len__(self) -> int:
        films = sum(len(mini_mias.read_info(folder / "Info.txt")) for folder in self.collections)
        return films + len(self.images)

    def __iter__(self) -> Iterator[Case]:
        return self.without(())

    def without(self, done: Container[str]) -> Iterator[Case]:
        """Those whose SOP Instance UID is not among `done`, whose pixels are not read."""
        for folder in self.collections:
            films = mini_mias.read_info(folder / "Info.txt")
            yield from mini_mias.cases(folder, [film for film in films if film.name not in done])
        for path, header in self.images:
            if header.sop_instance_uid in done:
                continue
            try:
                mammogram = self.reader.mammogram(path, header)
                facts = vendor_and_age(path)
            except ImageFailed as failure:
                self._pass_over(path, failure.detail)
                continue
            yield Case(
                mammogram=mammogram,
                patient=header.patient_key or header.study_instance_uid,
                annotations=self.known[header.sop_instance_uid],
                groups=tuple(
                    dict(
                        [
                            ("view", str(header.view)),
                            *facts,
                            *self.groups.get(header.sop_instance_uid, ()),
                        ]
                    ).items()
                ),
            )

    def _pass_over(self, path: Path, reason: str) -> None:
        line = f"{path}: {reason}"
        if line not in self.passed_over:
            self.passed_over.append(line)


def site_cases(
    sources: Sequence[Path],
    reader: MammogramReader,
    *,
    analyzed_views: frozenset[str],
    annotations: Sequence[Path] = (),
    masks: Path | None = None,
) -> SiteCases:
    """The annotated images under `sources`. Raises ConfigError when there is none.

    `annotations` are CSV files; `masks` is a folder of pictures named by SOP Instance UID, an
    empty mask being a normal image. Images that nobody said anything about are passed over: they
    are neither normal nor positive.
    """
    found = SiteCases(reader)
    found.collections += [source for source in sources if (source / "Info.txt").is_file()]
    folders = [source for source in sources if source not in found.collections]
    headers = [pair for folder in folders for pair in headers_in(folder, reader)]
    reports = [path for path, header in headers if header.sop_class_uid in SR_CLASSES]
    pictures = sorted(masks.glob("*.png")) if masks else []
    for known in (
        *map(read_csv, annotations),
        *map(_from_report, reports),
        *({path.stem: read_mask(path)} for path in pictures),
    ):
        for uid, more in known.items():
            found.known[uid] = (*found.known.get(uid, ()), *more)
    for path in annotations:
        found.groups |= read_groups(path)
    for path, header in headers:
        if path not in reports:
            found.add(path, header, analyzed_views)
    if not len(found):
        reasons = "".join(f"\n  {line}" for line in found.passed_over[:20])
        raise ConfigError(f"no annotated image was found{reasons}")
    return found


def headers_in(source: Path, reader: MammogramReader) -> list[tuple[Path, ImageHeader]]:
    """Every DICOM object in the folder, by its path."""
    found = []
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        try:
            found.append((path, reader.header(path)))
        except ImageFailed:
            # A folder of images may hold other files.
            continue
    return found


def _from_report(path: Path) -> Known:
    try:
        dataset = dcmread(path)
    except PARSE_ERRORS as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}") from error
    report = read_report(dataset)
    return {
        uid: tuple(
            Annotation(finding.outline[:-1])
            for finding in report.of_image(uid)
            if finding.outline and (finding.is_cluster or finding.is_calcification)
        )
        for uid in {*report.analyzed_uids, *(f.sop_instance_uid for f in report.findings)}
    }
