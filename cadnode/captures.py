"""How a view is drawn for a Secondary Capture: read, decoded and drawn, one at a time.

What a capture shows cannot be switched off, so it has only the marks of the recommended operating
point. It is as high as the image, at most 2,048 rows: three bytes a pixel make some 10 MB of it, a
third of a mammogram, and a 5 megapixel display shows no more of a whole view.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cadnode.core.exam import Algorithm, AnalyzedImage
from cadnode.core.ports import MammogramReader
from cadnode.pictures import draw_marks

MOST_ROWS = 2048


def drawing(
    reader: MammogramReader,
) -> Callable[[AnalyzedImage, Algorithm, str], NDArray[np.uint8]]:
    """A function that draws an image with its marks and a caption; RGB, shape (rows, columns, 3).

    It raises ImageFailed and ImageUnreachable as `reader` does.
    """

    def draw(image: AnalyzedImage, algorithm: Algorithm, caption: str) -> NDArray[np.uint8]:
        mammogram = reader.mammogram(image.path, reader.header(image.path))
        recommended = algorithm.recommended_operating_point
        picture = draw_marks(
            mammogram.pixels,
            [mark for mark in image.findings if mark.operating_point <= recommended],
            spacing=mammogram.spacing,
            view_name=image.view_name,
            recommended=recommended,
            height=min(MOST_ROWS, mammogram.pixels.shape[0]),
            caption=caption,
        )
        return np.asarray(picture, np.uint8)

    return draw
