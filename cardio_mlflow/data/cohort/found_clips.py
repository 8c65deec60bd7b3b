"""The clips of a cohort folder: one for each patient and view, of those that files and sheets name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort.clip import KINDS, Clip, Findings, is_inside, kind_of, natural_key
from cardio_mlflow.data.cohort.clip_folders import Choice, choose_studies, search_folders
from cardio_mlflow.data.cohort.clip_names import KnownPatients, same_ids
from cardio_mlflow.data.cohort.clip_sheet import clip_sheet_in, read_clip_sheet
from cardio_mlflow.data.cohort.export_link import LinkedExport, linked_export
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS
from cardio_mlflow.sheets.sheet import SHOWN_PROBLEMS, first_few, read_sheet

LAYOUTS: Final = (
    "dicom/<patient>_<view>.dcm, dicom/<patient>/<view>*.dcm, dicom/<patient>/<view>/*.dcm, "
    "dicom/<patient>/<study>/<view>*.dcm, "
    "tensors/<patient>_<view>.pt, the same without dicom/ or tensors/, videos (avi, mp4, mov, mkv, wmv) by "
    "the same names, or a clips.csv with the columns patient_id, view, path; "
    f"views: {', '.join(f'{v.code} or {v.name}' for v in VIEWS)}"
)


@dataclass(frozen=True)
class ClipSource:
    """Where clips are looked for.

    Attributes:
        folder: holds them, or a clips.csv that names them.
        export: the export that a clips.csv may name files of.
        sheet: the clips.csv, the only source of clips where there is one.
        patient: whose folder it is, where it is that of one patient.
    """

    folder: Path
    export: LinkedExport
    sheet: Path | None
    patient: str | None = None

    def search(self, patients: KnownPatients, studies: Collection[str] = ()) -> Findings:
        """What there is of these patients; ``studies`` are names of folders of studies.

        Raises:
            InputError: a clips.csv has errors, or a folder cannot be read or is linked from outside.
        """
        if self.sheet is not None:
            return read_clip_sheet(self.folder, read_sheet(self.sheet), patients, self.export)
        if self.export.salt:
            raise InputError(
                f"{self.folder.name} holds no clips.csv: sort was stopped before it had written it. Run sort "
                "again."
            )
        return search_folders(self.folder, patients, studies, self.patient)


def source_in(folder: Path, export: Path | None, cache: Path | None) -> ClipSource:
    """The clips of a cohort folder; arguments and errors as of `read_cohort`."""
    return ClipSource(folder, linked_export(folder, export, cache), clip_sheet_in(folder))


def find_clips(source: ClipSource, sheet: LabelSheet, studies: Choice) -> tuple[list[Clip], list[str]]:
    """One clip for each patient and view, in the order of the sheet and of the views; and notes.

    Arguments and errors as of `read_cohort`.
    """
    patients = list(sheet.table.index)
    found = _search(source, sheet, KnownPatients(patients))
    spellings, id_notes = same_ids(sheet, {clip.patient_id for clip in found.all_clips()}, found.strangers)
    if spellings:
        found = _search(source, sheet, KnownPatients(patients, spellings))
    study_notes = choose_studies(found, sheet, studies)
    if not found.clips:
        reasons = "; ".join([*left_out(found), *id_notes, *study_notes])
        none_of = f" of a patient of the label sheet ({reasons})" if found.seen else ""
        raise InputError(f"{source.folder.name}: no clip{none_of}. Expected {LAYOUTS}.")
    order = {patient: i for i, patient in enumerate(patients)}
    found.clips.sort(key=lambda clip: (order[clip.patient_id], VIEW_CODES.index(clip.view)))
    chosen, notes = _choose(found.clips, sheet)
    return chosen, [*id_notes, *study_notes, *notes, *left_out(found), *_absences(chosen, sheet)]


def _search(source: ClipSource, sheet: LabelSheet, patients: KnownPatients) -> Findings:
    found = source.search(patients, sheet.studies.values())
    for clip in found.all_clips() if source.sheet is None else ():
        if not is_inside(source.folder, clip.path):
            raise InputError(
                f"{sheet.row(clip.patient_id)}, view {clip.view}: the clip is a link to a place outside the "
                "cohort folder, which is not followed. Put the file itself there; or put the label sheet "
                "beside the folder that holds the files and give that place as data."
            )
    return found


def _choose(clips: Sequence[Clip], sheet: LabelSheet) -> tuple[list[Clip], list[str]]:
    """One clip of each patient and view, in the order given, and notes on the others."""
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.patient_id, clip.view].append(clip)
    several = {place: len(group) for place, group in groups.items() if len(group) > 1}
    notes = [
        f"{sheet.row(patient)}, view {code}: {count} clips, the first was taken"
        for (patient, code), count in several.items()
    ]
    if len(several) > SHOWN_PROBLEMS:
        more = f"... and {len(several) - SHOWN_PROBLEMS} more with several clips"
        notes = [*notes[:SHOWN_PROBLEMS], more]
    if several:
        rule = f"several clips of one view: {' before '.join(KINDS)}, then the first by name (2 before 10)"
        notes = [rule, *notes]
    return [min(group, key=_preference) for group in groups.values()], notes


def _preference(clip: Clip) -> tuple[int, tuple[tuple[int, str], ...]]:
    return KINDS.index(kind_of(clip.path) or KINDS[0]), natural_key(clip.path.as_posix())


def left_out(found: Findings) -> list[str]:
    """What a search has left out, by the reason, one note each."""
    left = {**found.ignored, "clips of patients who are not in the label sheet": found.strangers.total()}
    return [f"{count} {reason} were ignored" for reason, count in left.items() if count]


def _absences(clips: Sequence[Clip], sheet: LabelSheet) -> list[str]:
    seen = Counter(clip.patient_id for clip in clips)
    without = [sheet.rows[patient] for patient in sheet.table.index if not seen[patient]]
    partial = sum(0 < seen[patient] < len(VIEW_CODES) for patient in sheet.table.index)
    notes = []
    if without:
        notes.append(f"{len(without)} patients without any clip: row {first_few(without)} of {sheet.name}")
    if partial:
        notes.append(f"{partial} patients lack one to three of the four views")
    return notes
