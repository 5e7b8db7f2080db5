"""A DICOM node that reads mammograms and answers with a Mammography CAD SR."""

__version__ = "0.4.0"
