"""Folders of studies within a patient's folder: which study's clips are taken."""

from __future__ import annotations

import datetime
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

from cardio_mlflow.data.cohort.clip import Clip, Findings, kind_of, study_key
from cardio_mlflow.data.cohort.clip_folders import OTHER_FOLDER
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.errors import InputError

Choice = Literal["ask", "newest", "nearest"]

_DATE, _TIME = 0x00080020, 0x00080030  # Study Date, Study Time: DICOM PS3.6
_HEAD: Final = 64 * 1024
"""Bytes of a file that are read for its study's date, which stands at the header's start."""
_NO_HEADER: Final = (
    InvalidDicomError, EOFError, OSError, ValueError, TypeError, KeyError, AttributeError,
    NotImplementedError, RuntimeError, zlib.error,
)  # fmt: skip


def choose_studies(found: Findings, sheet: LabelSheet, choice: Choice) -> list[str]:
    """Add one study's clips of each patient to the clips that lie in no study's folder.

    The folder that the sheet's column `study` names goes first; then clips that lie in no study's folder;
    then the only study; then the choice. Dates stay in here.

    Args:
        found: what a search found; its `studies` are used up.
        sheet: the label sheet.
        choice: of several studies, "newest" takes the one of the latest study date and time, "nearest" the
            one nearest to the catheterisation (`rhc_date`); "ask" raises.

    Returns:
        Notes that name rows only.

    Raises:
        InputError: a choice is asked for or cannot be made; names rows.
    """
    direct = {clip.patient_id for clip in found.clips}
    several = []
    for patient, studies in found.studies.items():
        if patient in sheet.studies:
            study = _named(studies, sheet, patient)
            found.clips = [clip for clip in found.clips if clip.patient_id != patient]
        elif patient in direct:
            found.ignored[OTHER_FOLDER] += len(studies)
            continue
        else:
            study = next(iter(studies))
            if len(studies) > 1:
                several.append(patient)
                study = study if choice == "ask" else _by_date(studies, sheet, patient, choice)
        found.clips.extend(studies[study])
    found.studies.clear()
    if not several:
        return []
    who = f"{sheet.some_rows(several)} with several studies"
    if choice == "ask":
        raise InputError(
            f"{who}. Choose with -P studies=newest, -P studies=nearest (to the column rhc_date), or a column "
            "`study` in the label sheet that names the folder."
        )
    return [f"{who}: the {choice} was taken"]


def _named(studies: Mapping[str, Sequence[Clip]], sheet: LabelSheet, patient: str) -> str:
    found = [study for study in studies if study_key(study) == study_key(sheet.studies[patient])]
    if len(found) != 1:
        raise InputError(
            f"row {sheet.rows[patient]} of {sheet.name}, column study: the patient has no such folder of a "
            "study with a clip in it."
        )
    return found[0]


def _by_date(studies: Mapping[str, Sequence[Clip]], sheet: LabelSheet, patient: str, choice: Choice) -> str:
    """The newest study, or the one nearest to the catheterisation.

    Raises:
        InputError: a study's date cannot be read, two are equal, or there is no rhc_date.
    """
    row, name_it = f"row {sheet.rows[patient]} of {sheet.name}", "Name the folder in a column `study`."
    if choice == "nearest" and patient not in sheet.dates:
        raise InputError(f"{row}: studies=nearest needs a column rhc_date, the day of the catheterisation.")
    ranks: dict[str, float] = {}
    for study, clips in studies.items():
        moment = max(filter(None, map(_study_moment, clips)), default=None)
        if moment is None:
            raise InputError(f"{row}: the date of one of {len(studies)} studies cannot be read. {name_it}")
        days = abs((moment.date() - sheet.dates[patient]).days) if choice == "nearest" else 0
        ranks[study] = -days if choice == "nearest" else moment.timestamp()
    best = [study for study, rank in ranks.items() if rank == max(ranks.values())]
    if len(best) > 1:
        raise InputError(f"{row}: {len(best)} studies are equally {choice[:4]}. {name_it}")
    return best[0]


def _study_moment(clip: Clip) -> datetime.datetime | None:
    """Date and time of a DICOM file's study, or None. Not more than the header's start is read."""
    if kind_of(clip.path) != "DICOM":
        return None
    try:
        with clip.path.open("rb") as file:
            head = io.BytesIO(file.read(_HEAD))
        header = read_partial(head, lambda tag, _vr, _length: tag > _TIME, specific_tags=[_DATE, _TIME])
        day = str(header[_DATE].value).replace(".", "")
        date = datetime.datetime.strptime(day, "%Y%m%d")
        time = str(header[_TIME].value)[:6] if _TIME in header else ""
        return datetime.datetime.strptime(day + time, "%Y%m%d%H%M%S") if len(time) == 6 else date
    except _NO_HEADER:
        return None
