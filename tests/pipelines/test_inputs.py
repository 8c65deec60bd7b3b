"""Pseudonyms from the label sheet to the check that a model is not tested on its own patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.prepare import PreparedCohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines import inputs as module
from cardio_mlflow.pipelines import test as test_step
from cardio_mlflow.pipelines.inputs import ORIGINAL_IDS, StudyInputs, load_inputs, training_subset
from cardio_mlflow.settings import Settings, load_settings

PATIENTS = [f"ROE{i}" for i in range(9)]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings for a cohort of nine patients, six of them Cohort I, whose preparation is a stub."""
    folder = tmp_path / "cohort"
    (folder / "dicom").mkdir(parents=True)
    rows = "".join(f"{p},6,24,9,{10 + 3 * i},9,5.1,2.9,2100,1.2\n" for i, p in enumerate(PATIENTS))
    (folder / "labels.csv").write_text(f"patient_id,{','.join(KEYS)}\n{rows}")
    for patient in PATIENTS:
        (folder / "dicom" / f"{patient}_FC.dcm").write_text(patient)

    def prepare(clips: tuple[Clip, ...], cache: Path, *_: object, **__: object) -> PreparedCohort:
        ids = tuple(clip.patient_id for clip in clips)
        contents = {clip.patient_id: (clip.path.read_bytes().hex(),) for clip in clips}
        first = {contents[p]: p for p in reversed(ids)}
        shared = tuple((first[c], p) for p, c in contents.items() if first[c] != p)
        return PreparedCohort(tmp_path, f"key{ids}", pd.DataFrame(), ids, (), {}, contents, shared)

    monkeypatch.setattr(module, "prepare_cohort", prepare)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def settings(**more: str) -> Settings:
        own = {"data": str(folder), "cohort1_size": "6", "num_folds": "2", "cache": str(tmp_path / "cache")}
        return load_settings(own | more, {})

    return settings


def test_ids_are_replaced_everywhere_and_nothing_else_changes(given: Callable[..., Settings]) -> None:
    plain, hidden = load_inputs(given()), load_inputs(given(pseudonymize="true"))
    ids = [
        *hidden.cohort.labels.index,
        *hidden.folds.index,
        *hidden.prepared.patients,
        *hidden.patients("II"),
    ]
    assert not set(ids) & set(PATIENTS)
    assert all(name.startswith("S") and len(name) == 13 for name in ids)
    assert [c.patient_id for c in hidden.cohort.clips] == list(hidden.cohort.labels.index)
    assert list(hidden.folds) == list(plain.folds)
    assert list(hidden.folds.index) == list(hidden.cohort.members("I").index)
    assert hidden.cohort2_digest == plain.cohort2_digest
    assert hidden.digest != plain.digest
    assert (plain.patient_ids, hidden.patient_ids[:18]) == (ORIGINAL_IDS, "pseudonyms of key ")


def test_a_use_of_cohort_2_is_known_again_by_labels_and_clip_files(
    given: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = tmp_path / "cohort"
    first = load_inputs(given()).cohort2_digest
    (folder / "dicom" / "ROE0_FC.dcm").write_text("another clip of Cohort I")
    assert load_inputs(given()).cohort2_digest == first
    (folder / "dicom" / "ROE8_FC.dcm").write_text("another clip of Cohort II")
    changed = load_inputs(given()).cohort2_digest
    (folder / "dicom" / "ROE8_FC.dcm").write_text("ROE8")
    labels = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(labels.replace("ROE8,6,", "ROE8,7,"))
    assert len({first, changed, load_inputs(given()).cohort2_digest}) == 3


@pytest.mark.parametrize("hidden", ["false", "true"])
def test_one_clip_in_both_cohorts_stops_the_command(
    given: Callable[..., Settings], tmp_path: Path, hidden: str
) -> None:
    clips = tmp_path / "cohort" / "dicom"
    (clips / "ROE1_FC.dcm").write_bytes((clips / "ROE0_FC.dcm").read_bytes())
    load_inputs(given(pseudonymize=hidden))  # both are in Cohort I: they are refused, and the rest goes on
    (clips / "ROE7_FC.dcm").write_bytes((clips / "ROE2_FC.dcm").read_bytes())
    with pytest.raises(InputError, match=r"1 clips stand .* rows 4, 9 of the label sheet") as error:
        load_inputs(given(pseudonymize=hidden))
    assert "ROE" not in str(error.value)


def test_the_same_key_gives_the_same_pseudonyms_again(given: Callable[..., Settings], tmp_path: Path) -> None:
    one, two = load_inputs(given(pseudonymize="true")), load_inputs(given(pseudonymize="true"))
    other = load_inputs(given(pseudonymize="true", pseudonym_key=str(tmp_path / "other" / "x.key")))
    assert list(one.cohort.labels.index) == list(two.cohort.labels.index)
    assert one.digest == two.digest
    assert not set(one.cohort.labels.index) & set(other.cohort.labels.index)
    assert one.patient_ids != other.patient_ids


def test_given_folds_and_training_rows_mean_the_same_patients(
    given: Callable[..., Settings], tmp_path: Path
) -> None:
    folds = tmp_path / "folds.csv"
    folds.write_text("patient_id,fold\n" + "".join(f"{p},{1 + i // 3}\n" for i, p in enumerate(PATIENTS[:6])))
    settings = given(pseudonymize="true", folds=str(folds), train_indices="1,4")
    hidden = load_inputs(settings)
    assert list(hidden.folds) == [1, 1, 1, 2, 2, 2]
    cohort1 = list(hidden.cohort.members("I").index)
    assert training_subset(settings, hidden) == {cohort1[1], cohort1[4]}


@pytest.mark.parametrize("place", ["cohort/pseudonym.key", "cache/prepared/pseudonym.key"])
def test_the_key_may_not_lie_in_what_is_handed_on(
    given: Callable[..., Settings], tmp_path: Path, place: str
) -> None:
    with pytest.raises(InputError, match="handed on"):
        load_inputs(given(pseudonymize="true", pseudonym_key=str(tmp_path / place)))


def test_a_key_inside_the_code_is_refused(given: Callable[..., Settings]) -> None:
    inside = Path(module.__file__).parent / "pseudonym.key"
    with pytest.raises(InputError, match="handed on"):
        load_inputs(given(pseudonymize="true", pseudonym_key=str(inside)))
    assert not inside.exists()


def check(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    tested: StudyInputs,
    trained: StudyInputs,
    cohort: str,
) -> None:
    """Run the check of `test` for a model that was trained on all patients of `trained`."""
    table = pd.DataFrame({"patient_id": list(trained.cohort.labels.index)})
    monkeypatch.setattr(test_step, "run_by_id", lambda _: SimpleNamespace(predictions=lambda: table))
    tags = {"synthetic": "false", "cohort": cohort, "patient_ids": trained.patient_ids}
    model = SimpleNamespace(tags=tags, run_id="r")
    test_step.check_unseen(settings, model, tested.patients("II"), tested.patient_ids)


@pytest.mark.parametrize("trained_hidden", ["true", "false"])
@pytest.mark.parametrize("tested_hidden", ["true", "false"])
def test_a_model_is_never_tested_on_its_own_patients_unnoticed(
    given: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trained_hidden: str,
    tested_hidden: str,
) -> None:
    settings = given(pseudonymize=tested_hidden)
    tested, trained = load_inputs(settings), load_inputs(given(pseudonymize=trained_hidden))
    expected = "cannot be told" if trained_hidden != tested_hidden else "3 of the 3 Cohort II patients"
    with pytest.raises(InputError, match=expected) as error:
        check(monkeypatch, settings, tested, trained, "cohort")
    caplog.clear()
    check(monkeypatch, settings, tested, trained, "another hospital")
    assert expected in caplog.text
    for text in (str(error.value), caplog.text):
        assert "ROE" not in text


def test_pseudonyms_of_two_keys_cannot_be_compared(
    given: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = given(pseudonymize="true")
    tested = load_inputs(settings)
    trained = load_inputs(given(pseudonymize="true", pseudonym_key=str(tmp_path / "k" / "other.key")))
    with pytest.raises(InputError, match="cannot be told"):
        check(monkeypatch, settings, tested, trained, "cohort")
