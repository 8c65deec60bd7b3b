"""Sort an export of a PACS or a scanner into a cohort folder."""

from __future__ import annotations

import logging
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort.export_link import reference, remembered
from cardio_mlflow.data.cohort.labels import LabelSheet, read_patients
from cardio_mlflow.data.sorting.cohort_folder import (
    LABELLED,
    PAGE,
    REPORT,
    CohortFolder,
    SortedFile,
    known_identities,
)
from cardio_mlflow.data.sorting.collecting import FoundFile, collect_files, worth_preparing
from cardio_mlflow.data.sorting.dicomdir import find_files
from cardio_mlflow.data.sorting.eye_labels import EyeLabel, read_eye_labels, with_later
from cardio_mlflow.data.sorting.facts import Kind
from cardio_mlflow.data.sorting.header_reading import read_all_facts
from cardio_mlflow.data.sorting.matching import Matches, match_patients
from cardio_mlflow.data.sorting.page import write_sort_page
from cardio_mlflow.data.sorting.suggestions import Suggestions
from cardio_mlflow.data.sorting.view_tags import ViewTable, load_view_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.view_sorting import view_confusion
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.pipelines.inputs import patient_names
from cardio_mlflow.pipelines.sorted_clips import SortedClips, prepare_pictures
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

OPTIONS: Final[Mapping[str, str]] = {
    "labels": "", "views": "", "view_tags": "", "threshold": "auto", "within_days": "",
}  # fmt: skip
"""The options of the command beside the settings, and their defaults."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The options of the command, read.

    Attributes:
        seen: what persons decided on the page, by clip, earlier and now.
        threshold: None: chosen by cross-validation.
        within_days: None: any.
    """

    export: Path
    labels: Path
    view_table: ViewTable
    seen: Mapping[str, EyeLabel]
    threshold: float | None
    within_days: int | None


def sort(
    settings: Settings, run: Run, labels: str, views: str, view_tags: str, threshold: str, within_days: str
) -> None:
    """An export of a PACS or a scanner to a cohort folder: whose clips, which view, one clip per view.

    export: a folder, a zip file or a DICOMDIR; cohort: the folder to write; labels: the sheet of the
    catheterisation values, csv or xlsx. A second time export and labels need not be given.
    views: what the page sort.html has saved. view_tags: a YAML file of your scanners' words for views.
    threshold: probability from which a suggested view is taken. within_days: of the catheterisation.
    """
    options = read_options(settings, labels, views, view_tags, threshold, within_days)
    listing = find_files(options.export)
    folder = CohortFolder.of(Path(settings.data), listing.root)
    sheet = read_patients(options.labels, settings.cohort1_size)
    headers = list(read_all_facts(listing.files, settings.workers))
    matches = match_patients([(file.place, facts) for file, facts in headers], sheet)
    if not matches.rows:
        raise InputError(_nobody(matches))
    names = patient_names(settings, sheet, listing.root)
    found = collect_files(headers, matches, sheet, names, options.view_table)
    _say(*listing.notes, _kinds(found), *sheet.notes, *sheet.warnings, *matches.notes)
    pictures = prepare_pictures(worth_preparing(found), settings)
    clips = SortedClips(found, pictures, options.seen, options.threshold, options.within_days)
    identities = known_identities([facts for _, facts in headers], sheet)
    by_eye = {clip: (label.view, label.chosen) for clip, label in clips.decided.items()}
    rows = clips.rows()
    made_from = {"export": options.export, "labels": options.labels}
    _say(*folder.write(sheet, names, rows, by_eye, identities, made_from, settings.cache))
    _write_page(folder, clips)
    _log_results(run, folder, clips, rows)
    log.info("%s", "\n".join(_summary(folder, sheet, clips, rows)))


def read_options(
    settings: Settings, labels: str, views: str, view_tags: str, threshold: str, within_days: str
) -> Options:
    """Read the command's options; what was given or labelled before counts where nothing is said.

    Raises:
        InputError: one is missing or makes no sense.
    """
    if settings.is_synthetic:
        raise InputError("Say which folder shall be written: -P cohort=<absolute path of a new folder>.")
    cohort = Path(settings.data)
    before = remembered(cohort, settings.cache)
    export = Path(settings.export) if settings.export else before.get("export")
    sheet = _path("labels", labels) if labels else before.get("labels")
    if export is None:
        raise InputError("Say where the export lies: -P export=<absolute path of a folder, zip or DICOMDIR>.")
    if sheet is None:
        raise InputError("Give the label sheet: -P labels=<absolute path of a csv or xlsx file>.")
    earlier = cohort / LABELLED
    seen = read_eye_labels(earlier) if earlier.is_file() else {}
    if views:
        seen = with_later(seen, read_eye_labels(_path("views", views)))
    return Options(
        export, sheet, load_view_table(_path("view_tags", view_tags) if view_tags else None), seen,
        None if threshold == "auto" else _number("threshold", threshold, 0.5, 1.0),
        int(_number("within_days", within_days, 0, 36500)) if within_days else None,
    )  # fmt: skip


def _path(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"{name}={text}: there is no home folder of that name.") from None


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"{name}={text}: a number from {low:g} to {high:g} is expected.")
    return value


def _say(*lines: str) -> None:
    for line in filter(None, lines):
        log.info("%s", line)


def _kinds(found: Sequence[FoundFile]) -> str:
    kinds = Counter(one.facts.kind for one in found)
    words: dict[Kind, str] = {
        "cine": "cines",
        "still": "stills",
        "no picture": "without a picture that can be used",
    }
    counts = ", ".join(f"{kinds[kind]} {word}" for kind, word in words.items() if kinds[kind])
    return f"{len(found)} files: {counts}"


def _nobody(matches: Matches) -> str:
    notes = "\n  ".join(matches.notes)
    clearly = "clearly " if matches.conflicts else ""
    return (
        f"No file of the export {clearly}belongs to a patient of the label sheet:\n  {notes}\n"
        "Is it the sheet of this export? Its column of ids has to hold what the export has as PatientID, as "
        "AccessionNumber or as names of folders."
    )


def _write_page(folder: CohortFolder, clips: SortedClips) -> None:
    found = clips.suggestions
    accuracy: dict[str, object] = {"notes": [found]}
    if isinstance(found, Suggestions):
        shares = ("accuracy", "taken_accuracy", "coverage", "threshold", "notes")
        accuracy = {name: getattr(found, name) for name in shares}
        accuracy["confusion"] = found.confusion.to_numpy()
    write_sort_page(
        folder.folder / PAGE, clips.shown(), name=reference(folder.link.salt, PAGE), accuracy=accuracy,
        synthetic=clips.synthetic,
    )  # fmt: skip


def _log_results(run: Run, folder: CohortFolder, clips: SortedClips, rows: Sequence[SortedFile]) -> None:
    run.log_file(folder.folder / REPORT, "tables")
    run.log_file(folder.folder / PAGE)
    sources = clips.sources()
    run.log_metrics({
        "files": float(len(rows)), "clips/prepared": float(len(clips.pictures.features)),
        "clips/taken": float(sum(row.taken for row in rows)),
        **{f"views/{source or 'asked'}": float(count) for source, count in sources.items()},
    })  # fmt: skip
    if isinstance(found := clips.suggestions, Suggestions):
        run.log_table(found.confusion.reset_index(names="label"), "tables/view_confusion.csv")
        figure = view_confusion(found.confusion, synthetic=clips.synthetic)
        run.log_figures({"view_confusion": figure}, ("png",))
        shares = ("accuracy", "coverage", "threshold")
        run.log_metrics({f"suggestions/{name}": float(getattr(found, name)) for name in shares})


def _summary(
    folder: CohortFolder, sheet: LabelSheet, clips: SortedClips, rows: Sequence[SortedFile]
) -> list[str]:
    """The closing lines: what there is, where to look, and what comes next."""
    sources = clips.sources()
    taken = Counter(row.patient for row in rows if row.taken)
    places, patients = taken.total(), len(sheet.table)
    asked = sources[""]
    lines = [
        *(f"  {count:>6}  {fate}" for fate, count in clips.fates().most_common()),
        f"Views of {sources.total()} clips: {sources['tags']} by tags, {sources['eye']} by eye, "
        f"{sources['suggested']} suggested, {asked} not known yet.",
        f"{places} of {patients * len(VIEW_CODES)} places (patient and view) have a clip; "
        f"{sum(count == len(VIEW_CODES) for count in taken.values())} of {patients} patients have all four "
        f"views, {patients - len(taken)} have none.",
    ]
    lines += [
        f"  {name:<8} {folder.folder.resolve() / file}" for name, file in (("page", PAGE), ("table", REPORT))
    ]
    if asked:
        lines.append(
            f"Label in the page, then: {_command('sort', folder, 'cohort', views='<saved clips.csv>')}"
        )
    return [*lines, f"Next: {_command('prepare', folder, 'data')}"]


def _command(step: str, folder: CohortFolder, name: str, **more: str) -> str:
    given = " ".join(f"-P {key}={value}" for key, value in more.items())
    words = f"mlflow run . -e {step} -P {name}={shlex.quote(str(folder.folder.resolve()))} {given}".strip()
    return f"{words} --env-manager local"
