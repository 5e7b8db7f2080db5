"""A cluster at a known place comes back there, in the pixels of the image that was received.

The shipped model on real DICOM files: four orientations, five pixel pitches, both photometric
interpretations, all through the reader, the model grid, the classifier and the marks.
"""

from __future__ import annotations

import numpy as np
import pytest

from cadnode.app import App, once
from cadnode.config import load_settings
from cadnode.core.analysis import analyze_mammogram
from cadnode.dicom.reader import DicomReader
from tests.objects import add_cluster, breast_phantom, flip_points, mammogram, write

WIDTH_MM, HEIGHT_MM = 55.0, 70.0
CLUSTER_MM = (33.0, 36.0)

classifier = once(App(load_settings(None, {})).classifier)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("spacing_mm", [0.05, 0.07, 0.085, 0.094, 0.1])
@pytest.mark.parametrize("orientation", ["", "h", "v", "hv"])
def test_a_cluster_comes_back_within_a_millimetre(tmp_path, spacing_mm, orientation, photometric):
    rows, columns = round(HEIGHT_MM / spacing_mm), round(WIDTH_MM / spacing_mm)
    picture = breast_phantom(rows, columns, spacing_mm, seed=3) * 0.7
    middle = (CLUSTER_MM[0] / spacing_mm, CLUSTER_MM[1] / spacing_mm)
    dots = add_cluster(picture, middle, spacing_mm, n=12, spread_mm=4, contrast=0.35, seed=1)
    path = write(
        mammogram(
            picture,
            spacing_mm=spacing_mm,
            photometric=photometric,
            orientation=orientation,
        ),
        tmp_path / "image.dcm",
    )
    reader = DicomReader()
    image = reader.mammogram(path, reader.header(path))
    findings = analyze_mammogram(image, classifier()).findings
    truth = np.mean(flip_points(dots, picture.shape, orientation), axis=0)
    distances_mm = [
        float(np.hypot(*(np.array(finding.center) - truth))) * spacing_mm for finding in findings
    ]
    assert min(distances_mm, default=np.inf) < 1.0
    best = findings[int(np.argmin(distances_mm))]
    assert len(best.calcifications) >= len(dots) // 2
