"""The DICOMDIR of a made-up export."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.fileset import FileSet

ID_LENGTH = 35
"""Characters of the file ids that pydicom gives, PT000000/ST000000/SE000000/IM000000."""


def write_directory(root: Path, places: Sequence[str]) -> None:
    """Write `root/DICOMDIR` for the files at these places.

    pydicom names the files of a set itself. Its names are replaced by ours, padded with blanks (which mean
    nothing there) to the same length, so that the byte offsets in the DICOMDIR stay right.
    """
    files, place_of = FileSet(), {}
    for place in places:
        data = dcmread(root / place, stop_before_pixels=True)
        place_of[str(data.SOPInstanceUID)] = place
        files.add(data)
    with tempfile.TemporaryDirectory() as folder:
        files.write(folder)
        directory = dcmread(Path(folder) / "DICOMDIR")
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            place = place_of[str(record.ReferencedSOPInstanceUIDInFile)]
            record.ReferencedFileID = place.ljust(ID_LENGTH).split("/")
    directory.save_as(root / "DICOMDIR", enforce_file_format=True)
