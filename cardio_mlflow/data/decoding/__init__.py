"""Bytes of a DICOM file made into samples, with distrust."""
