"""What the page saved, read back: as it was saved, as a spreadsheet leaves it, and what makes no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.sorting.eye_labels import EyeLabel, read_eye_labels
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEWS

NAMES = {view.name: view.code for view in VIEWS} | {"other": "other"}
LABELS = st.dictionaries(
    st.text("0123456789abcdef", min_size=16, max_size=16), st.tuples(st.sampled_from([*NAMES]), st.booleans())
)


@given(LABELS, st.sampled_from([",", ";", "\t"]), st.sampled_from(["", "\ufeff"]), st.sampled_from("\n\r"))
def test_what_was_saved_is_read(tmp_path_factory, labels, separator, mark, end):
    path = tmp_path_factory.mktemp("saved") / "clips.csv"
    rows = [("clip", "view", "chosen")]
    rows += [(clip, name, "yes" if chosen else "") for clip, (name, chosen) in labels.items()]
    line = "\r\n" if end == "\r" else "\n"
    path.write_bytes((mark + "".join(separator.join(row) + line for row in rows)).encode())
    found = read_eye_labels(path)
    assert found == {clip: EyeLabel(NAMES[name], chosen) for clip, (name, chosen) in labels.items()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient_id,view,path\nR0002,A4C,x\n", "not what sort.html saves"),
        ("clip,view,chosen\n1E+15,A4C,\n", "row 2, column A (clip)"),
        ("clip,view\n0123456789abcdef,apex\n", "row 2, column B (view)"),
    ],
)
def test_what_makes_no_sense_is_named_by_row(tmp_path, text, words):
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(InputError) as error:
        read_eye_labels(tmp_path / "clips.csv")
    assert words in str(error.value)
    with pytest.raises(InputError, match="no such file"):
        read_eye_labels(tmp_path / "none.csv")


def test_the_last_label_of_a_clip_counts(tmp_path):
    (tmp_path / "clips.csv").write_text("clip,view\n0123456789abcdef,A4C\n0123456789ABCDEF,0\n")
    assert read_eye_labels(tmp_path / "clips.csv") == {"0123456789abcdef": EyeLabel("other")}
