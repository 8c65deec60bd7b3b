from __future__ import annotations

import mlflow
import pytest

from cardio_mlflow.pipelines.promotion import promote
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.new_runs import command_run
from cardio_mlflow.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    MODEL_NAME,
    set_alias,
    version_called,
)

TAGS = {"synthetic": "false", "patient_ids": "as in the label sheet"}


@pytest.fixture
def registered(workplace):
    """Registers a version with out-of-fold predictions; gives its run and number."""
    mlflow.set_tracking_uri(workplace.address)

    def build(predictions, **tags):
        run = command_run()
        run.log_table(predictions, "predictions.csv")
        client, source = workplace.client, f"runs:/{run.run_id}/model"
        if not client.search_registered_models(f"name = '{MODEL_NAME}'"):
            client.create_registered_model(MODEL_NAME)
        return run, str(client.create_model_version(MODEL_NAME, source, run.run_id, TAGS | tags).version)

    return build


def promoted(made, predictions, **tags):
    settings = load_settings({"bootstrap": "100"}, {})
    return promote(made[0], settings, made[1], predictions, TAGS | tags)


def worse(predictions):
    """The predictions of other patients."""
    mixed = predictions.groupby("parameter")["prediction"].transform(lambda values: values.to_numpy()[::-1])
    return predictions.assign(prediction=mixed)


def holders():
    return [found and found.number for found in (version_called(CHAMPION), version_called(CHALLENGER))]


def test_the_first_version_is_champion(registered, table):
    made = registered(table())
    assert promoted(made, table()).sentence == "It becomes the champion: there was none."
    assert holders() == ["1", None]
    assert promoted(made, table()).sentence == "It is the champion already."


def test_a_worse_version_is_challenger_and_the_run_says_why(registered, table, workplace):
    first = registered(table(60))
    promoted(first, table(60))
    made = registered(worse(table(60)))
    assert not promoted(made, worse(table(60))).promoted
    assert holders() == ["1", "2"]
    run = workplace.client.get_run(made[0].run_id)
    assert run.data.metrics["promotion/r_high"] < 0
    assert run.data.metrics["promotion/r_difference"] < run.data.metrics["promotion/r_high"]
    assert run.data.tags["promotion"].startswith(
        "It becomes the challenger, since it is worse: on 60 patients"
    )
    assert workplace.artifact(run, "tables/promotion.csv").is_file()
    assert workplace.client.get_model_version(MODEL_NAME, "2").tags["promotion"] == run.data.tags["promotion"]


def test_a_version_as_good_takes_over_and_is_no_challenger_any_more(registered, table):
    promoted(registered(table(60)), table(60))
    made = registered(table(60))
    set_alias(made[1], CHALLENGER)
    assert promoted(made, table(60)).promoted
    assert holders() == ["2", None]


def test_a_synthetic_model_never_replaces_one_of_real_patients(registered, table):
    promoted(registered(table(60)), table(60))
    made = registered(table(60), synthetic="true")
    found = promoted(made, table(60), synthetic="true")
    assert not found.promoted
    assert "synthetic patients never" in found.sentence
    assert holders() == ["1", "2"]


def test_a_model_of_real_patients_replaces_a_synthetic_one(registered, table):
    promoted(registered(table(60), synthetic="true"), table(60), synthetic="true")
    other = table(60).assign(reference=table(60)["reference"] * 1.01)
    found = promoted(registered(other), other)
    assert found.promoted
    assert "no patient in common" in found.sentence
    assert holders() == ["2", None]


def test_other_pseudonyms_are_not_compared(registered, table):
    promoted(registered(table(60), patient_ids="pseudonyms of key a"), table(60))
    found = promoted(registered(worse(table(60))), worse(table(60)))
    assert found.promoted
    assert "other pseudonyms" in found.sentence


def test_a_champion_whose_run_is_gone_is_not_compared(registered, table, workplace):
    promoted(registered(table(60)), table(60))
    (kept,) = (workplace.folder / "mlruns").rglob("predictions.csv")
    kept.unlink()
    found = promoted(registered(table(60)), table(60))
    assert found.promoted
    assert "cannot be compared" in found.sentence
