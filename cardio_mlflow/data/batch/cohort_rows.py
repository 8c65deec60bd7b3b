"""The rows of all clips of a cohort, with what only the whole cohort can tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cardio_mlflow.data.batch.instances import conflicting, repeated
from cardio_mlflow.data.batch.patient_files import Row, drop_views, read_rows
from cardio_mlflow.data.cohort import Clip
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.data.review.clip_review import ClipReview

DUPLICATE: Final = "duplicate"
"""The word in the column ``review`` of a clip whose file is the same as another clip's."""

_CONFLICT: Final = "another file of the cohort has the same SOP Instance UID and other content"


def cohort_rows(
    patients: Mapping[str, Sequence[Clip]], contents: Mapping[Clip, str], home: Path
) -> list[Row]:
    """The rows of a cohort's clips, by patient and view, once every patient is prepared.

    Two clips with one SOP Instance UID and different contents are both refused, since nobody can say
    whose they are; their pixels are taken out of the patients' files. Clips of the same content are kept
    and marked for review. The files of rows stay as they are, so a stop in between changes nothing.

    Args:
        patients: the clips of each patient.
        contents: digest of each clip's file.
        home: the prepared cohort's folder.
    """
    digests = {(clip.patient_id, clip.view): digest for clip, digest in contents.items()}
    rows = [row for patient in patients for row in read_rows(home, patient)]
    content = [digests[row["patient_id"], row["view"]] for row in rows]
    conflicts = conflicting([row["instance"] for row in rows], content)
    same = repeated(content)
    _drop(home, [rows[i] for i in sorted(conflicts)])
    return [_judged(row, i in conflicts, i in same) for i, row in enumerate(rows)]


def _drop(home: Path, rows: Sequence[Row]) -> None:
    views = defaultdict(list)
    for row in rows:
        views[row["patient_id"]].append(row["view"])
    for patient, codes in views.items():
        drop_views(home, patient, codes)


def _judged(row: Row, conflict: bool, same: bool) -> Row:
    if row["outcome"] == Outcome.OK and conflict:
        refused = asdict(Quality(outcome=Outcome.UID_CONFLICT, message=_CONFLICT))
        return row | refused | {"review_data": asdict(ClipReview())}
    if row["outcome"] == Outcome.OK and same:
        return row | {"review": f"{row['review']} {DUPLICATE}".strip()}
    return row
