from __future__ import annotations

from pathlib import Path

import pytest

from cardio_mlflow.data.cohort.cohort import read_cohort
from cardio_mlflow.parameters import KEYS

VALUES = "6,24,9,15,9,5.1,2.9,2100,1.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three patients with a clip each; the last one is Cohort II."""
    rows = "".join(f"P{i},{VALUES}\n" for i in (3, 1, 2))
    (tmp_path / "labels.csv").write_text(f"patient_id,{','.join(KEYS)}\n{rows}")
    (tmp_path / "dicom").mkdir()
    for i in (1, 2, 3):
        (tmp_path / "dicom" / f"P{i}_FC.dcm").write_bytes(b"x")
    return tmp_path


def test_labels_and_clips_in_sheet_order(folder: Path) -> None:
    cohort = read_cohort(folder, 2)
    assert (cohort.name, cohort.folder) == (folder.name, folder)
    assert [c.patient_id for c in cohort.clips] == list(cohort.labels.index) == ["P3", "P1", "P2"]
    assert list(cohort.members("II").index) == ["P2"]


def test_a_renamed_cohort_has_new_ids_everywhere_and_the_same_order(folder: Path) -> None:
    cohort = read_cohort(folder, 2)
    renamed = cohort.renamed({"P1": "a", "P2": "b", "P3": "c"})
    assert [c.patient_id for c in renamed.clips] == list(renamed.labels.index) == ["c", "a", "b"]
    assert renamed.labels.index.name == "patient_id"
    assert [c.path for c in renamed.clips] == [c.path for c in cohort.clips]
    assert list(renamed.labels["person"]) == ["c", "a", "b"]
    kept = [labels.drop(columns="person").to_numpy() for labels in (renamed.labels, cohort.labels)]
    assert (kept[0] == kept[1]).all()
    assert list(cohort.labels.index) == ["P3", "P1", "P2"]
    with pytest.raises(KeyError):
        cohort.renamed({"P1": "a"})


def test_a_folder_linked_as_a_whole_is_fine(folder: Path) -> None:
    link = folder.parent / f"{folder.name}-link"
    link.symlink_to(folder)
    assert len(read_cohort(link, 2).clips) == 3
