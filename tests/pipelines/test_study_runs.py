"""Which folds a step takes, of runs in a real store that several people and settings share."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.entities import Param
from mlflow.tracking import MlflowClient

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.study_runs import complete_folds
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.new_runs import tags_of, user_name
from cardio_mlflow.tracking.runs import typed_values
from tests.conftest import make_settings


@pytest.fixture
def client(workplace) -> MlflowClient:
    mlflow.set_tracking_uri(f"sqlite:///{workplace.folder}/mlflow.db")
    return workplace.client


def asked(**given: object) -> Settings:
    return make_settings(num_folds=2, study="x", **given)


def trained(
    client: MlflowClient, settings: Settings, cohort: str = "c", user: str = "", folds=(1, 2), **where: str
) -> set[str]:
    """The ids of fold runs as a training leaves them, without artifacts."""
    ids = set()
    values = typed_values(settings) | {"data": where.get("data", settings.data)}
    for fold in folds:
        tags = tags_of(settings, "train_fold", fold=str(fold), variant="full", cohort_digest=cohort)
        run = client.create_run(
            where.get("experiment", "0"), tags=tags | {"mlflow.user": user or user_name()}
        )
        client.log_batch(run.info.run_id, params=[Param(f"cfg/{n}", value) for n, value in values.items()])
        client.set_terminated(run.info.run_id)
        ids.add(run.info.run_id)
    return ids


def taken(settings: Settings, *given: str) -> set[str]:
    return {run.run_id for run in complete_folds(settings, given).values()}


def test_missing_folds_are_named_with_the_commands_that_train_them(client: MlflowClient) -> None:
    five = make_settings(num_folds=5, study="x")
    trained(client, five, folds=(2, 4))
    with pytest.raises(InputError, match="lacks folds 1, 3 and 5") as error:
        complete_folds(five)
    assert "-e train_fold -P fold=1" in str(error.value)


def test_folds_of_different_settings_are_not_pooled(client: MlflowClient) -> None:
    trained(client, asked(task_lr=0.001), folds=(1,))
    trained(client, asked(task_lr=0.002), folds=(2,))
    with pytest.raises(InputError, match=r"task_lr: 0\.001 and 0\.002"):
        complete_folds(asked())


def test_settings_that_were_given_have_to_be_those_of_the_folds(client: MlflowClient) -> None:
    folds = trained(client, asked(epochs=18))
    assert taken(asked(epochs=50)) == folds  # of a preset, not of the user
    assert taken(asked(epochs=18, task_lr=0.1), "epochs") == folds
    with pytest.raises(
        InputError, match=r"epochs was 18, is now 50; task_lr was 0\.001, is now 0\.1"
    ) as error:
        complete_folds(asked(epochs=50, task_lr=0.1), {"epochs", "task_lr"})
    assert any(f"-P settings={fold}" in str(error.value) for fold in folds)
    newer = trained(client, asked(epochs=50))
    assert taken(asked(epochs=50), "epochs") == newer
    assert taken(asked(epochs=18), "epochs") == folds


def test_the_same_persons_cohort_may_have_changed(client: MlflowClient) -> None:
    trained(client, asked(), "before")
    after = trained(client, asked(), "after")
    assert taken(asked()) == after


@pytest.mark.parametrize(("user", "data"), [("somebody else", "/a/cohort"), ("", "/b/cohort")])
def test_others_cohorts_of_one_name_are_not_taken(client: MlflowClient, user: str, data: str) -> None:
    own = trained(client, asked(), "ours", data="/a/cohort")
    trained(client, asked(), "theirs", user, data=data)
    assert taken(asked(data="/a/cohort")) == own
    with pytest.raises(InputError, match="which are meant is not clear") as error:
        complete_folds(asked(data="/c/cohort"))
    assert data in str(error.value)
    assert "-P study=" in str(error.value)


def test_two_persons_may_train_folds_of_one_cohort(client: MlflowClient) -> None:
    trained(client, asked())
    newer = trained(client, asked(), user="somebody else")
    assert taken(asked()) == newer


def test_folds_of_other_experiments_are_not_found(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = trained(client, asked())
    other = trained(client, asked(), experiment=client.create_experiment("mine"))
    assert taken(asked()) == folds
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert taken(asked()) == other
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "empty")
    with pytest.raises(InputError, match="has no trained fold in this experiment"):
        complete_folds(asked())
