"""Requests that are taken, and what is said of those that are not: sizes and names, never their content."""

from __future__ import annotations

import base64
import json
import math
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.errors import InputError
from cardio_mlflow.prediction.clip_arrays import ClipArrays
from cardio_mlflow.prediction.places import Places, Sent
from cardio_mlflow.prediction.requests import MOST_PATIENTS, read_request

SECRET = "NOBODY^KNOWN"
DICOM = bytes(128) + b"DICM" + b"0123456789" * 400
TEXT = base64.b64encode(DICOM).decode()


def arrays(patients: int = 2, frames: int = 8, **changes):
    given = {
        "views": np.full((patients, 4, frames, 224, 224), 7, np.uint8),
        "view_mask": np.ones((patients, 4)),
    }
    return given | changes


def read(given, frames: int = 8, **places):
    return read_request(given, frames, Places(**places))


def refusal(given, **places) -> str:
    with pytest.raises(InputError) as refused:
        read(given, **places)
    return str(refused.value)


def test_arrays_are_taken_with_whatever_numbers_say_the_same() -> None:
    wanted, names = read(arrays())
    assert isinstance(wanted, ClipArrays)
    assert names == ("1", "2")
    assert np.isnan(wanted.facts).all()
    assert not wanted.clips.phased.any()
    for changes in (
        {"views": np.full((2, 4, 8, 224, 224), 7, np.int64)},
        {"views": np.full((2, 4, 8, 224, 224), 7 / 255, np.float32)},
        {"view_mask": np.ones((2, 4), bool)},
        {"view_mask": [[1] * 4] * 2},
        {"phased": np.zeros((2, 4), np.float16), "facts": None, "placement": None},
    ):
        found, _ = read(arrays(**changes))
        assert (found.clips.clips == 7).all()
        assert found.clips.clips.dtype == wanted.clips.clips.dtype
        assert found.clips.present.all()


def test_what_is_known_beside_the_pixels_is_taken_over() -> None:
    facts = [[72, None, 90], [None, 1.9, None]]
    placement = np.full((2, 4, 3), np.nan)
    placement[0] = 0.8, 112, -3
    found, names = read(
        arrays(facts=facts, placement=placement, phased=[[1, 0, 1, 0]] * 2, patient_id=["a", 5])
    )
    assert np.array_equal(found.facts, np.array(facts, float), equal_nan=True)
    assert np.array_equal(found.clips.placement.numpy(), placement, equal_nan=True)
    assert found.clips.phased.tolist() == [[True, False, True, False]] * 2
    assert names == ("a", "5")


@pytest.mark.parametrize("views", [[], np.zeros((0, 4, 8, 224, 224), np.uint8), np.zeros((0, 2), np.float32)])
def test_nobody_is_asked_about(views) -> None:
    found, names = read({"views": views, "view_mask": [], "facts": [], "placement": np.zeros((0, 4, 3))})
    assert (len(found.clips), found.facts.shape, names) == (0, (0, 3), ())
    assert read(pd.DataFrame()) == ((), ())
    assert read([]) == ((), ())
    assert read({"A4C": []}) == ((), ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": np.zeros((2, 4, 8, 64, 64), np.uint8)}, "(2, 4, 8, 64, 64)"),
        ({"views": np.zeros((2, 4, 1, 224, 224), np.uint8)}, "T = 8 or more"),
        ({"views": np.zeros((2, 3, 8, 224, 224), np.uint8)}, "(2, 3, 8, 224, 224)"),
        ({"views": np.zeros((2, 4, 224, 224), np.uint8)}, "(2, 4, 224, 224)"),
        ({"views": np.full((1, 4, 8, 224, 224), np.nan)}, "within 0 and 1"),
        ({"views": np.full((1, 4, 8, 224, 224), 200.0)}, "within 0 and 1"),
        ({"views": np.full((1, 4, 8, 224, 224), -1)}, "within 0 and 255"),
        ({"views": np.full((1, 4, 8, 224, 224), True)}, "not bool"),
        ({"views": [[1, 2], [3]]}, "rows differ in length"),
        ({"views": [[SECRET]]}, "must hold numbers, not str"),
        ({"view_mask": np.full((2, 4), -1)}, "0 and 1 alone"),
        ({"view_mask": np.full((2, 4), np.nan)}, "0 and 1 alone"),
        ({"view_mask": [[SECRET] * 4] * 2}, "must hold numbers"),
        ({"view_mask": np.ones((2, 3))}, "(2, 4)"),
        ({"phased": np.full((2, 4), 0.5)}, "phased"),
        ({"facts": np.full((2, 2), np.nan)}, "(2, 3)"),
        ({"facts": [[SECRET, 1, 1]] * 2}, "facts"),
        ({"facts": [[math.inf, 1, 1]] * 2}, "finite"),
        ({"facts": [[70, 1.8, 90], [0, 1.8, 90]]}, "HR of patient 2 is outside 20 to 300"),
        ({"facts": [[70, 180, 90]] * 2}, "BSA"),
        ({"placement": np.zeros((2, 4, 3))}, "mm per pixel"),
        ({"placement": np.full((2, 4, 3), np.inf)}, "finite"),
        ({"patient_id": [SECRET]}, "2 texts"),
        ({"patient_id": [[SECRET], [SECRET]]}, "2 texts"),
        ({SECRET: 1}, "1 of 3 arrays are not known"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(changes, said) -> None:
    text = refusal(arrays(**changes))
    assert said in text
    assert SECRET not in text
    assert len(text) < 250
    assert "\n" not in text


def test_arrays_need_a_mask() -> None:
    assert "view_mask is missing" in refusal({"views": arrays()["views"]})


def test_a_table_is_taken_in_every_shape_that_json_gives() -> None:
    rows = [
        {"A4C": TEXT, "TC": None, "psax": "", "HR": "72", "patient_id": 3.0},
        {"A4C": None, "TC": "a/b.dcm"},
    ]
    table = pd.DataFrame(rows)
    forms = [table, rows, table.to_dict("list"), {name: np.array(cells) for name, cells in table.items()},
             [{name: np.array(cell) for name, cell in row.items()} for row in rows]]  # fmt: skip
    for form in forms:
        (one, two), names = read(form)
        assert set(one.files) == {"FC"}
        assert isinstance(one.files["FC"], Sent)
        assert one.files["FC"].content() == DICOM
        assert one.facts[0] == 72
        assert np.isnan(one.facts[1:]).all()
        assert {view: path.as_posix() for view, path in two.files.items()} == {"TC": "a/b.dcm"}
        assert names == ("3", "2")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({SECRET: [1], "A4C": [TEXT]}, "1 of the 2 columns are not known"),
        ({"FC": [TEXT], "A4C": [TEXT]}, "Two columns hold FC"),
        ({"HR": [70]}, "No column is of a view"),
        ([{}, {}], "No column is of a view"),
        ({"A4C": [7]}, "row 1, A4C: a clip is the path of its file or base64 text, not int"),
        ({"A4C": [[SECRET]]}, "not list"),
        ({"A4C": ["!" * 5000]}, "row 1, A4C: 5000 characters that are neither"),
        ({"A4C": [SECRET + "\0"]}, "13 characters that are neither"),
        ({"A4C": [TEXT, TEXT], "HR": [70, 0]}, "row 2, HR: outside 20 to 300"),
        ({"A4C": [TEXT], "HR": [SECRET]}, "row 1, HR: no number"),
        ({"A4C": [TEXT], "HR": [True]}, "row 1, HR: no number"),
        ({"A4C": [TEXT], "MAP": [math.inf]}, "row 1, MAP: outside"),
        ({"A4C": [TEXT], "patient_id": [[SECRET]]}, "row 1, patient_id"),
        ({"A4C": [TEXT], "HR": [70, 71]}, "not all as many rows"),
        ({"A4C": TEXT}, "not all as many rows"),
        (np.zeros((3, 2)), "not ndarray of shape (3, 2)"),
        (SECRET, "not str"),
        ([SECRET], "not list"),
        (None, "not NoneType"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(table, said) -> None:
    text = refusal(table)
    assert said in text
    assert SECRET not in text
    assert TEXT[:20] not in text
    assert "\n" not in text


def test_a_file_in_base64_may_have_line_ends_but_not_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,), _ = read({"A4C": [base64.encodebytes(DICOM).decode()]})
    assert one.files["FC"].content() == DICOM
    monkeypatch.setattr("cardio_mlflow.prediction.places.MOST_BYTES", 2**20)
    assert "may have 1 MiB" in refusal({"A4C": ["A" * 2**21]})


def test_a_server_takes_so_many_patients() -> None:
    table = {"A4C": [TEXT] * (MOST_PATIENTS + 1)}
    assert f"at most {MOST_PATIENTS}" in refusal(table, is_server=True)
    assert len(read(table)[1]) == MOST_PATIENTS + 1


def test_a_server_reads_files_below_its_folder_alone(tmp_path) -> None:
    folder, outside = tmp_path / "open", tmp_path / "closed"
    for place in (folder / "sub", outside):
        place.mkdir(parents=True)
        (place / "a.dcm").write_bytes(DICOM)
    (folder / "in").symlink_to(folder / "sub" / "a.dcm")
    (folder / "out").symlink_to(outside / "a.dcm")
    (folder / "loop").symlink_to(folder / "loop")
    inside = {"folder": folder, "is_server": True}
    for text in ("sub/a.dcm", "sub/../in", str(folder / "in"), "sub/not_there.dcm"):
        (one,), _ = read({"A4C": [text]}, **inside)
        assert one.files["FC"].parent == folder / "sub"
    for text in ("../closed/a.dcm", str(outside / "a.dcm"), "out", "/etc/passwd", "loop", "."):
        said = refusal({"A4C": [text]}, **inside)
        assert "leads out of the folder" in said
        assert str(tmp_path) not in said
    assert "this server reads no files by path" in refusal({"A4C": ["sub/a.dcm"]}, is_server=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(TEXT),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["views", "view_mask", "facts", "A4C", "HR", "patient_id", "x"]), inner,
                      max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_no_json_does_anything_but_pass_or_be_refused(found) -> None:
    with suppress(InputError):
        read(json.loads(json.dumps(found)), is_server=True)
