"""Pseudonyms from the label sheet to the check that a model is not tested on its own patients."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.data.prepared_cohort import PreparedCohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines import inputs as module
from cardio_mlflow.pipelines import test as test_step
from cardio_mlflow.pipelines.fold_results import build_predictions
from cardio_mlflow.pipelines.inputs import ORIGINAL_IDS, load_inputs, training_subset
from cardio_mlflow.pipelines.trained_on import TrainedOn, person_digest, seen_of
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.stroke_volume import all_direct

PATIENTS = [f"ROE{i}" for i in range(9)]


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Settings for a cohort of nine patients, six of them Cohort I, whose preparation is a stub."""
    folder = tmp_path / "cohort"
    (folder / "dicom").mkdir(parents=True)
    rows = "".join(f"{p},6,24,9,{10 + 3 * i},9,5.1,2.9,2100,1.2\n" for i, p in enumerate(PATIENTS))
    (folder / "labels.csv").write_text(f"patient_id,{','.join(KEYS)}\n{rows}")
    for patient in PATIENTS:
        (folder / "dicom" / f"{patient}_FC.dcm").write_text(patient)

    def prepare(clips, cache, *_, **__):
        ids = tuple(clip.patient_id for clip in clips)
        contents = {clip.patient_id: (clip.path.read_bytes().hex(),) for clip in clips}
        first = {contents[p]: p for p in reversed(ids)}
        shared = tuple((first[c], p) for p, c in contents.items() if first[c] != p)
        pixels = {patient: (f"pixels of {content}",) for patient, (content,) in contents.items()}
        made = (tmp_path, f"key{ids}", pd.DataFrame(), ids, (), {}, contents, pixels, shared, contents)
        return PreparedCohort(*made)

    monkeypatch.setattr(module, "prepare_cohort", prepare)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def settings(**more):
        own = {"data": str(folder), "cohort1_size": "6", "num_folds": "2", "cache": str(tmp_path / "cache")}
        return load_settings(own | more, {})

    return settings


def test_ids_are_replaced_everywhere_and_nothing_else_changes(given):
    plain, hidden = load_inputs(given()), load_inputs(given(pseudonymize="true"))
    ids = [*hidden.cohort.labels.index, *hidden.folds.index, *hidden.prepared.patients]
    assert not set(ids) & set(PATIENTS)
    assert all(name.startswith("S") and len(name) == 13 for name in ids)
    assert [c.patient_id for c in hidden.cohort.clips] == list(hidden.cohort.labels.index)
    assert list(hidden.folds) == list(plain.folds)
    assert list(hidden.folds.index) == list(hidden.cohort.members("I").index)
    assert hidden.cohort2_digest == plain.cohort2_digest
    assert load_inputs(given(pseudonymize="true")).digest == hidden.digest != plain.digest
    assert (plain.patient_ids, hidden.patient_ids[:18]) == (ORIGINAL_IDS, "pseudonyms of key ")


def test_a_use_of_cohort_2_is_known_again_by_labels_and_clip_files(given, tmp_path):
    folder = tmp_path / "cohort"
    inputs = load_inputs(given())
    first = inputs.cohort2_digest
    refused = replace(inputs.prepared, patients=inputs.prepared.patients[:-1])
    assert replace(inputs, prepared=refused).cohort2_digest == first, "by another version of the preparation"
    (folder / "dicom" / "ROE0_FC.dcm").write_text("another clip of Cohort I")
    assert load_inputs(given()).cohort2_digest == first
    (folder / "dicom" / "ROE8_FC.dcm").write_text("another clip of Cohort II")
    changed = load_inputs(given()).cohort2_digest
    (folder / "dicom" / "ROE8_FC.dcm").write_text("ROE8")
    labels = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(labels.replace("ROE8,6,", "ROE8,7,"))
    assert len({first, changed, load_inputs(given()).cohort2_digest}) == 3


@pytest.mark.parametrize("hidden", ["false", "true"])
def test_one_clip_in_both_cohorts_stops_the_command(given, tmp_path, hidden):
    clips = tmp_path / "cohort" / "dicom"
    (clips / "ROE1_FC.dcm").write_bytes((clips / "ROE0_FC.dcm").read_bytes())
    load_inputs(given(pseudonymize=hidden))  # both are in Cohort I: they are refused, and the rest goes on
    (clips / "ROE7_FC.dcm").write_bytes((clips / "ROE2_FC.dcm").read_bytes())
    with pytest.raises(InputError, match=r"1 clips stand .* rows 4, 9 of the label sheet") as error:
        load_inputs(given(pseudonymize=hidden))
    assert "ROE" not in str(error.value)


def test_given_folds_and_training_rows_mean_the_same_patients(given, tmp_path):
    folds = tmp_path / "folds.csv"
    folds.write_text("patient_id,fold\n" + "".join(f"{p},{1 + i // 3}\n" for i, p in enumerate(PATIENTS[:6])))
    settings = given(pseudonymize="true", folds=str(folds), train_indices="1,4")
    hidden = load_inputs(settings)
    assert list(hidden.folds) == [1, 1, 1, 2, 2, 2]
    cohort1 = list(hidden.cohort.members("I").index)
    assert training_subset(settings, hidden) == {cohort1[1], cohort1[4]}


@pytest.mark.parametrize("place", ["cohort", "cache/prepared", Path(module.__file__).parent])
def test_the_key_may_not_lie_in_what_is_handed_on_or_in_the_code(given, tmp_path, place):
    key = tmp_path / place / "pseudonym.key"
    with pytest.raises(InputError, match="handed on"):
        load_inputs(given(pseudonymize="true", pseudonym_key=str(key)))
    assert not key.exists()


def check(monkeypatch, settings, tested, trained, cohort, seen=None):
    """Run the check of `test` for a model that was trained on all patients of `trained`."""
    table = pd.DataFrame({"patient_id": list(trained.cohort.labels.index)})
    kept = SimpleNamespace(
        predictions=lambda: table, has=lambda _: seen is not None, text=lambda _: seen and seen.to_json()
    )
    monkeypatch.setattr(test_step, "run_by_id", lambda _: kept)
    tags = {"synthetic": "false", "cohort": cohort, "patient_ids": trained.patient_ids}
    model = SimpleNamespace(tags=tags, run_id="r")
    test_step.check_unseen(settings, model, tested, tested.patients("II"))


@pytest.mark.parametrize("trained_hidden", ["true", "false"])
@pytest.mark.parametrize("tested_hidden", ["true", "false"])
def test_a_model_is_never_tested_on_its_own_patients_unnoticed(
    given, monkeypatch, caplog, trained_hidden, tested_hidden
):
    settings = given(pseudonymize=tested_hidden)
    tested, trained = load_inputs(settings), load_inputs(given(pseudonymize=trained_hidden))
    expected = "cannot be known" if trained_hidden != tested_hidden else "3 of the 3 Cohort II patients"
    with pytest.raises(InputError, match=expected) as error:
        check(monkeypatch, settings, tested, trained, "cohort")
    caplog.clear()
    check(monkeypatch, settings, tested, trained, "another hospital")
    assert expected in caplog.text
    for text in (str(error.value), caplog.text):
        assert "ROE" not in text


def test_pseudonyms_of_two_keys_cannot_be_compared(given, monkeypatch, tmp_path):
    settings = given(pseudonymize="true")
    tested = load_inputs(settings)
    trained = load_inputs(given(pseudonymize="true", pseudonym_key=str(tmp_path / "k" / "other.key")))
    with pytest.raises(InputError, match="cannot be known"):
        check(monkeypatch, settings, tested, trained, "cohort")


NOBODY = TrainedOn(frozenset(), frozenset())


def test_clips_that_were_trained_on_are_found_under_any_name(given, monkeypatch, caplog):
    """Another folder, other ids, pseudonyms of another key: the files are the same."""
    settings = given(pseudonymize="true")
    tested, trained = load_inputs(settings), load_inputs(given())
    one, two = tested.patients("II")[:2]
    same = {one: ("digest-1", "digest-2"), two: ("digest-3",)}
    tested = replace(tested, prepared=replace(tested.prepared, contents=same))
    seen = TrainedOn(frozenset({"digest-2", "digest-9"}), frozenset())
    pictures = TrainedOn(frozenset(tested.prepared.pixels[one][:1]), frozenset())
    with pytest.raises(InputError, match=r"1 of the 3 .* the same pictures"):
        check(monkeypatch, settings, tested, trained, "/backup/elsewhere", pictures)
    with pytest.raises(InputError, match=r"1 of the 3 Cohort II patients have a clip, the same file"):
        check(monkeypatch, settings, tested, trained, "/backup/elsewhere", seen)
    check(monkeypatch, settings, tested, trained, "/backup/elsewhere", NOBODY)
    assert "ids alone" not in caplog.text
    check(monkeypatch, settings, tested, trained, "/backup/elsewhere", None)
    assert "can be known from the patients' ids alone" in caplog.text


def with_persons(settings, persons):
    """Give the label sheet a column of persons."""
    path = Path(settings.data) / "labels.csv"
    table = pd.read_csv(path, dtype=str).assign(mrn=persons)
    table.to_csv(path, index=False)
    return settings


TWICE = ["DOE1", "DOE1", "DOE2", "DOE2", "", "", "DOE3", "DOE3", "DOE4"]


@pytest.mark.parametrize("hidden", ["true", "false"])
def test_persons_that_were_trained_on_are_found_under_any_name(given, monkeypatch, hidden):
    settings = with_persons(given(pseudonymize=hidden), TWICE)
    tested = load_inputs(settings)
    seen = replace(seen_of(tested, tested.patients("II")), contents=frozenset())
    assert len(seen.persons) == 2
    other = load_inputs(given(pseudonymize=hidden))  # of which the predictions alone are asked for
    other = replace(other, cohort=replace(other.cohort, labels=other.cohort.labels.iloc[:0]))
    with pytest.raises(InputError, match=r"3 of the 3 Cohort II patients are examinations of a person"):
        check(monkeypatch, settings, tested, other, "/backup/elsewhere", seen)
    assert "DOE" not in seen.to_json()
    assert person_digest("007") == person_digest("7") != person_digest("8")
    check(monkeypatch, settings, tested, other, "/backup/elsewhere", seen_of(tested, tested.patients("I")))


def test_persons_stay_together_and_get_pseudonyms(given, tmp_path, caplog):
    settings = with_persons(given(pseudonymize="true"), ["DOE1", "doe1", *TWICE[2:]])
    with caplog.at_level("INFO"):
        inputs = load_inputs(settings)
    (warned,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warned.startswith("row 3 of labels.csv: taken for the person of another row")
    assert "9 patients of the sheet are examinations of 6 persons" in caplog.text
    folds = list(inputs.folds)
    assert (folds[0], folds[2]) == (folds[1], folds[3])
    cohort1 = inputs.patients("I")
    persons = inputs.persons(cohort1)
    assert persons is not None
    assert [persons.index(p) for p in persons] == [0, 0, 2, 2, 4, 5]
    assert persons[4:] == list(cohort1[4:])
    values = np.ones((6, len(KEYS)))
    table = build_predictions(
        cohort1, values, all_direct(values), cohort="I", variant="full", persons=persons
    )
    assert list(table.columns)[-1] == "person"
    text = table.to_csv() + inputs.cohort.labels.to_csv() + caplog.text
    assert "DOE" not in text
    assert "DOE1" in next((tmp_path / "config").rglob("*mapping.csv")).read_text()


def test_without_shared_persons_nothing_changes(given):
    before = load_inputs(given())
    after = load_inputs(with_persons(given(), [f"DOE{i}" for i in range(9)]))
    assert after.digest == before.digest
    assert list(after.folds) == list(before.folds)
    assert after.persons(after.patients("I")) is None
    values = np.ones((1, len(KEYS)))
    assert "person" not in build_predictions(["P"], values, all_direct(values), cohort="I", variant="full")


def test_given_folds_may_not_part_a_person(given, tmp_path):
    folds = tmp_path / "folds.csv"
    folds.write_text("patient_id,fold\n" + "".join(f"{p},{1 + i % 2}\n" for i, p in enumerate(PATIENTS[:6])))
    with pytest.raises(InputError, match="row 3, as row 2: one person in fold 1 and in fold 2"):
        load_inputs(with_persons(given(folds=str(folds)), TWICE))
