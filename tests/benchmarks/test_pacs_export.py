from __future__ import annotations

import pandas as pd
import pydicom
import pytest
from pydicom.fileset import FileSet

from benchmarks.pacs_export import make_export
from benchmarks.pacs_export.persons import draw_persons
from benchmarks.pacs_export.plan import FLAWS, plan_files
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return make_export(tmp_path_factory.mktemp("pacs"), patients=1, seed=5, jobs=1)


def test_an_export_is_what_its_truth_says(export):
    found = {str(path.relative_to(export.root)) for path in export.root.rglob("*") if path.is_file()}
    assert found == set(export.files) | {"DICOMDIR"}
    assert {str(file.path) for file in FileSet(export.root / "DICOMDIR")} == {
        str(export.root / place) for place in export.files
    }
    (sheet_id,) = pd.read_excel(export.sheet)["Hospital number"]
    for place, truth in export.files.items():
        data = pydicom.dcmread(export.root / place)
        assert (data.PatientID, truth.patient) == (f"{sheet_id:010d}", str(sheet_id))
        assert ("PixelData" in data) == (truth.kind not in ("report", "key object"))
        assert (int(data.get("NumberOfFrames", 1)) > 1) or truth.kind in (
            "still",
            "spectral",
            "report",
            "key object",
        )
    assert any(str(sheet_id) in word for word in export.planted)


def test_files_of_forty_persons():
    persons = draw_persons(40, 1, draw_hemodynamics(43, 1))
    files = {person: plan_files(person, 1) for person in persons if person.in_export}
    assert len(files) == 40
    assert all(12 <= len(planned) <= 20 for planned in files.values())
    assert (
        sum(not person.in_sheet for person in files) == sum(not person.in_export for person in persons) == 3
    )
    assert {file.flaw for planned in files.values() for file in planned} == {"", *FLAWS}
    for planned in files.values():
        right = [file.view for file in planned if file.right]
        assert len(set(right)) == len(right) >= 3
        assert set(right) <= set(VIEW_CODES)
