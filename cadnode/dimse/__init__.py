"""The DICOM network: the Storage SCP and the Storage SCU."""
