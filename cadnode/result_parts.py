"""The builders of result objects, and which kinds of object are made.

To add a result object, put its builder into `builders`, its SOP class into `RESULT_CLASSES` and its
name into `config.ResultKind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cadnode.config import Settings
    from cadnode.core.ports import MammogramReader, OutputBuilder
    from cadnode.dicom.object_header import Equipment

RESULT_CLASSES: Mapping[str, str] = {
    "mammography-cad-sr": "1.2.840.10008.5.1.4.1.1.88.50",
    "tid1500-sr": "1.2.840.10008.5.1.4.1.1.88.33",
    "gsps": "1.2.840.10008.5.1.4.1.1.11.1",
    "secondary-capture": "1.2.840.10008.5.1.4.1.1.7",
    "segmentation": "1.2.840.10008.5.1.4.1.1.66.4",
}
"""SOP class of each kind of result object (PS3.4 B.5)."""

REPORTS = ("mammography-cad-sr", "tid1500-sr")
"""The kinds that are made of every exam, wherever they go."""


def builders(equipment: Equipment, reader: MammogramReader) -> list[OutputBuilder]:
    """One builder for each kind of result object; `reader` gets the pixels of pictures."""
    from cadnode.captures import drawing
    from cadnode.dicom.cad_sr import MammographyCadSr
    from cadnode.dicom.gsps import Gsps
    from cadnode.dicom.secondary_capture import SecondaryCapture
    from cadnode.dicom.segmentation import Segmentation
    from cadnode.dicom.tid1500 import Tid1500Sr

    return [
        MammographyCadSr(equipment),
        Tid1500Sr(equipment),
        Gsps(equipment),
        SecondaryCapture(equipment, drawing(reader)),
        Segmentation(equipment),
    ]


def wanted_kinds(settings: Settings) -> frozenset[str]:
    """The kinds of object that are made: the reports always, others where they go somewhere."""
    wanted = {kind for d in settings.destinations if d.enabled for kind in d.objects}
    return frozenset(wanted | set(REPORTS))
