"""A made-up PACS export: folders, names, DICOMDIR and sheet, and the truth about each file."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from benchmarks.pacs_export.directory import write_directory
from benchmarks.pacs_export.persons import Person, draw_persons, planted, write_sheet
from benchmarks.pacs_export.plan import KINDS, Kind, PlannedFile, plan_files
from benchmarks.pacs_export.view_words import OTHER_VIEWS
from benchmarks.pacs_export.writing import write_file
from cardio_mlflow.files import write_whole
from cardio_mlflow.synthetic.clip import patient_rows

ROOT, SHEET, TRUTH, ZIP = "pacs", "rhc.xlsx", "truth.json", "archive.zip"
"""In the folder: the export, the sheet, the truth; and what holds everything of a zipped export."""


@dataclass(frozen=True)
class ExportedFile:
    """The truth about one file of the export.

    Attributes:
        place: relative to the export's root.
        patient: hospital number as the sheet has it.
        row: of the sheet, as a spreadsheet counts; None where the person is not in it.
        view: that it shows: a code, "other", or empty where it shows none.
        picture: the view in words where it is another one.
        kind: cine, still, colour, m-mode, spectral, two panels, report or key object.
        flaw: of the worse clip of a pair: short, no ECG or zoomed.
        study: 0 is next to the catheterisation, 1 months away.
        days: from the catheterisation.
        right: whether it is the clip to choose for its patient and view.
    """

    place: str
    patient: str
    row: int | None
    view: str
    picture: str
    kind: str
    flaw: str
    study: int
    days: int
    right: bool


@dataclass(frozen=True)
class Export:
    """An export and the truth about it.

    Attributes:
        root: what `sort` is given.
        sheet: the catheterisations.
        files: by place.
        only_sheet: rows of the sheet that have no file.
        planted: strings that name a person or a day.
    """

    root: Path
    sheet: Path
    files: dict[str, ExportedFile]
    only_sheet: tuple[int, ...]
    planted: tuple[str, ...]


def make_export(
    folder: Path,
    patients: int = 40,
    seed: int = 1,
    view_tags: bool = True,
    zipped: bool = False,
    jobs: int = 2,
    kinds: Collection[Kind] = KINDS,
) -> Export:
    """Write `pacs/` (DICOM/ST000001/SE000003/IM_0012, DICOMDIR), `rhc.xlsx` and `truth.json` into a folder.

    The same arguments give the same pictures whatever the number of workers. What the folder holds of an
    earlier export is replaced.

    Args:
        folder: made if missing.
        patients: of the export; three of them are not in the sheet, which has three others.
        seed: of everything.
        view_tags: whether headers name the views.
        zipped: put everything into one zip file within the export.
        jobs: worker processes.
        kinds: the files to write; the others are left out, those that are written stay the same.
    """
    root = folder / ROOT
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    hemodynamics, anatomy = patient_rows(seed, patients + 3)
    persons = draw_persons(patients, seed, hemodynamics)
    rows = write_sheet(folder / SHEET, persons, hemodynamics, seed)
    placed = [
        (person, {place: file for place, file in files.items() if file.kind in kinds})
        for person, files in _places([person for person in persons if person.in_export], seed)
    ]
    calls = [delayed(_write_person)(root, person, files, hemodynamics.iloc[person.number],
                                    anatomy.iloc[person.number], seed, view_tags)
             for person, files in placed]  # fmt: skip
    with Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1) as workers:
        for _ in tqdm(workers(calls), total=len(calls), desc="export", unit="patient"):
            pass
    write_directory(root, [place for _, files in placed for place in files])
    truth = {place: _truth(place, person, file, rows)
             for person, files in placed for place, file in files.items()}  # fmt: skip
    if zipped:
        truth = {f"{ZIP}/{place}": file for place, file in truth.items()}
        _zip(root)
    only = tuple(sorted(rows[p.hospital_number] for p in persons if not p.in_export))
    export = Export(root, folder / SHEET, truth, only, planted(persons))
    write_whole(folder / TRUTH, json.dumps([asdict(file) for file in truth.values()], indent=1))
    return export


def _truth(place: str, person: Person, planned: PlannedFile, rows: dict[int, int]) -> ExportedFile:
    row = rows.get(person.hospital_number)
    return ExportedFile(
        place, str(person.hospital_number), row, "other" if planned.view in OTHER_VIEWS else planned.view,
        planned.view if planned.view in OTHER_VIEWS else "", planned.kind, planned.flaw, planned.study,
        person.studies[planned.study].days, planned.right and row is not None,
    )  # fmt: skip


def _places(persons: Sequence[Person], seed: int) -> list[tuple[Person, dict[str, PlannedFile]]]:
    """Give every file its place: studies numbered in no order, and files too, some by a digest's digits."""
    rng = np.random.default_rng([seed, 77])
    studies = [(person, i) for person in persons for i in range(len(person.studies))]
    numbers = {
        (p.number, i): int(n) + 1 for (p, i), n in zip(studies, rng.permutation(len(studies)), strict=True)
    }
    placed = []
    for person in persons:
        planned = plan_files(person, seed)
        hashed, files = bool(rng.uniform() < 0.3), {}
        for number, file in zip(rng.permutation(len(planned)), planned, strict=True):
            name = f"{rng.integers(2**28, 2**32):08X}" if hashed else f"IM_{number + 1:04d}"
            files[f"DICOM/ST{numbers[person.number, file.study]:06d}/SE{number + 1:06d}/{name}"] = file
        placed.append((person, files))
    return placed


def _write_person(
    root: Path, person: Person, files: dict[str, PlannedFile], row: pd.Series, anatomy: pd.Series, seed: int,
    view_tags: bool,
) -> None:  # fmt: skip
    cv2.setNumThreads(1)
    for place, planned in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        write_file(root / place, planned, person, row, anatomy, seed, view_tags)


def _zip(root: Path) -> None:
    with zipfile.ZipFile(root / ZIP, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != ZIP):
            archive.write(path, path.relative_to(root).as_posix())
    shutil.rmtree(root / "DICOM")
    (root / "DICOMDIR").unlink()
