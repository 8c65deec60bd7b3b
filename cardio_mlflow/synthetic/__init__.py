"""The synthetic cohort: hemodynamics, then anatomy, then a cine in four views, then DICOM files."""
