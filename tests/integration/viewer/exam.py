"""An exam that was really read, and what the pages of one exam say of it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from cadnode.dicom.reader import DicomReader
from tests.console import ConsoleUnderTest
from tests.objects import add_cluster, breast_phantom, mammogram, secondary_capture

SPACING = 0.1
SHAPE = (700, 560)
CLUSTER = (300.0, 350.0)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
STUDY = "1.2.826.0.1.3680043.8.498.77"
DESTINATION = """
[[destinations]]
name = "ARCHIVE"
host = "127.0.0.1"
port = 11112
ae_title = "ARCHIVE"
"""


def picture(laterality: str, *, cluster: bool) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    film = breast_phantom(*SHAPE, SPACING, seed=3, laterality=laterality) * 0.7
    dots = add_cluster(film, CLUSTER, SPACING, n=12, spread_mm=4, contrast=0.35) if cluster else ()
    return film.astype(np.float32), np.array(dots)


def exam_objects() -> list[Dataset]:
    """RCC with a cluster, LCC as MONOCHROME1, RMLO turned round with a cluster, LMLO compressed,
    a view the node does not read, and a screenshot."""
    right, _ = picture("R", cluster=True)
    left, _ = picture("L", cluster=False)
    common: dict[str, Any] = {"spacing_mm": SPACING, "study_uid": STUDY}
    return [
        mammogram(right, laterality="R", view="CC", instance_number=1, **common),
        mammogram(
            left, laterality="L", view="CC", instance_number=2, photometric="MONOCHROME1", **common
        ),
        mammogram(right, laterality="R", view="MLO", instance_number=3, orientation="h", **common),
        mammogram(
            left,
            laterality="L",
            view="MLO",
            instance_number=4,
            transfer_syntax_uid=JPEG_LOSSLESS,
            **common,
        ),
        mammogram(
            left,
            laterality="L",
            view="CC",
            instance_number=5,
            modifiers=["magnification"],
            **common,
        ),
        secondary_capture(study_uid=STUDY),
    ]


def images(node: ConsoleUnderTest, exam: int = 1) -> dict[str, dict[str, Any]]:
    """The images of an exam by view name; the magnification view is not one of them."""
    answer = node.browser.get(f"/api/v1/exams/{exam}/images")
    assert answer.status_code == 200
    return {image["view_name"]: image for image in reversed(answer.json())}


def decoded(node: ConsoleUnderTest, image: dict[str, Any], exam: int = 1) -> NDArray[np.uint8]:
    for kept in node.store.records.exam_detail(exam).images:
        if kept.id == image["id"]:
            reader, path = DicomReader(), node.app.settings.node.data_dir / kept.path
            header = reader.header(path)
            pixels = reader.mammogram(path, header).pixels
            return np.asarray(pixels * 255 + 0.5).astype(np.uint8)
    raise AssertionError("no such image")


def tile(node: ConsoleUnderTest, image: dict[str, Any], name: str) -> NDArray[np.uint8]:
    answer = node.browser.get(f"/api/v1/exams/1/images/{image['id']}/tiles_files/{name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, max-age=3600"
    return np.asarray(Image.open(BytesIO(answer.content)))


def page_data(page: str) -> dict[str, Any]:
    begin = page.index('id="exam-data">') + len('id="exam-data">')
    data: dict[str, Any] = json.loads(page[begin : page.index("</script>", begin)])
    return data
