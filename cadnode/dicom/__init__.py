"""DICOM objects at the edge: reading mammograms, writing structured reports."""
