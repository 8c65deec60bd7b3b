from __future__ import annotations

import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.training import checkpoint as module
from cardio_mlflow.training.checkpoint import Checkpoint
from cardio_mlflow.training.fit import fit
from cardio_mlflow.training.state import new_state, put_weights
from tests.forked import Forked


@contextmanager
def no_room():
    """The system refuses to let files grow, as a full disk or quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "checkpoints" / "fold")


@pytest.fixture
def trained(tiny_settings, tiny_fold, tiny_network):
    """Settings, data, and a function that trains from a state, yielding its records."""
    settings = tiny_settings(
        epochs=8, stages=3, task_lr=0.01, vit_lr=1e-3, augmented_copies=1, speckle=0.1, view_dropout=0.2,
        lr_schedule="cosine", warmup_epochs=0.5,
    )  # fmt: skip
    return settings, tiny_fold(settings), lambda: new_state(tiny_network(settings), settings)


def numbers(record):
    return (record.epoch, record.train_loss, record.val_loss, record.improved, *record.predictions.ravel())


@pytest.mark.parametrize("stopped", range(1, 9))
@pytest.mark.parametrize("minutes", [0, 60], ids=["every epoch", "when stopped"])
def test_training_goes_on_as_if_never_stopped(checkpoint, trained, stopped, minutes):
    """After each epoch, so in every stage and across every border between two."""
    settings, data, start = trained
    checkpoint = Checkpoint(checkpoint.folder, minutes)
    whole = start()
    expected = [numbers(r) for r in fit(whole, data, settings, 3)]
    first = start()
    for record in fit(first, data, settings, 3):
        if record.epoch == stopped + 1:  # it is stopped within the epoch after
            break
        checkpoint.keep(first, {"loss": record.val_loss})
        loss = record.val_loss
    checkpoint.flush()
    assert checkpoint.notes() == {"loss": loss, "epoch": stopped}
    resumed = start()
    checkpoint.read(resumed)
    torch.manual_seed(99)
    assert [numbers(r) for r in fit(resumed, data, settings, 3)] == expected[stopped:]
    one, two = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (resumed.best_epoch, resumed.best_loss) == (whole.best_epoch, whole.best_loss)
    assert np.array_equal(resumed.best_predictions, whole.best_predictions)
    assert np.array_equal(resumed.best_features, whole.best_features)
    assert resumed.best_weights.keys() == whole.best_weights.keys()
    assert all(torch.equal(whole.best_weights[n], w) for n, w in resumed.best_weights.items())
    assert len(list(checkpoint.folder.iterdir())) == 3, "what is no longer needed is removed"


def test_starting_anew_does_not_take_the_best_of_before(checkpoint, trained):
    settings, data, start = trained
    for seed in (1, 2):
        state = start()
        for _ in fit(state, data, settings, seed):
            checkpoint.keep(state, {})
    resumed = start()
    checkpoint.read(resumed)
    assert np.array_equal(resumed.best_predictions, state.best_predictions)
    assert all(torch.equal(state.best_weights[n], w) for n, w in resumed.best_weights.items())


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import torch
from tests.conftest import make_settings, make_vit
from cardio_mlflow.model.network import build_network
from cardio_mlflow.training.checkpoint import Checkpoint
from cardio_mlflow.training.forward import ScaledPredictions
from cardio_mlflow.training.state import new_state
torch.set_num_threads(1)
settings = make_settings()
state = new_state(build_network(make_vit(), "full", 2, 0, 0), settings)
checkpoint = Checkpoint(Path(sys.argv[1]))
state.epoch = 1
state.keep(3.0, ScaledPredictions(np.zeros((2, 9)), np.zeros((2, 16))))
checkpoint.keep(state, {"kept": "first"})
renamed = []
def stop(event, arguments):
    if event == "os.rename":
        renamed.append(arguments)
        if len(renamed) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(stop)
state.epoch = 2
state.keep(2.0, ScaledPredictions(np.ones((2, 9)), np.ones((2, 16))))
checkpoint.keep(state, {"kept": "second"})
"""


@pytest.mark.parametrize("file", [1, 2, 3])
def test_a_kill_within_a_write_leaves_the_checkpoint_before(checkpoint, tmp_path, file):
    done = Forked(KILLED, [str(checkpoint.folder), str(file)], tmp_path).wait()
    assert done.returncode == -9, done.stderr
    assert checkpoint.notes()["kept"] == "first"
    whole = {"epoch-00001.safetensors", "best-00001.safetensors"}
    assert whole <= {path.name for path in checkpoint.folder.iterdir()}


def test_a_full_disk_is_reported_and_the_checkpoint_before_stays(checkpoint, trained):
    settings, data, start = trained
    state, records = start(), None
    records = fit(state, data, settings, 0)
    next(records)
    checkpoint.keep(state, {"epoch_before": 1})
    next(records)
    with no_room(), pytest.raises(InputError, match=r"disk is full.*epoch 2.*resume=true"):
        checkpoint.keep(state, {})
    assert checkpoint.notes()["epoch_before"] == 1
    assert not list(checkpoint.folder.glob("*.part"))
    resumed = start()
    checkpoint.read(resumed)
    assert resumed.epoch == 1


@pytest.mark.parametrize("damage", ["json", "tensors", "missing", "shape", "other"])
def test_a_damaged_checkpoint_is_told(checkpoint, trained, damage):
    settings, data, start = trained
    state = start()
    next(fit(state, data, settings, 0))
    checkpoint.keep(state, {})
    last = checkpoint.folder / "epoch-00001.safetensors"
    if damage == "json":
        (checkpoint.folder / "state.json").write_text("{")
    elif damage == "other":
        (checkpoint.folder / "state.json").write_text("[]")
    elif damage == "tensors":
        last.write_bytes(last.read_bytes()[:-9])
    elif damage == "missing":
        last.unlink()
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(str(last))
        tensors["temporal.query"] = torch.zeros(3)
        save_file(tensors, str(last))
    with pytest.raises(InputError, match="damaged or of another version"):
        checkpoint.read(start())


def test_two_cannot_train_the_same_at_once(checkpoint):
    other = Checkpoint(checkpoint.folder)
    refused = pytest.raises(InputError, match="Another process is training this fold")
    with checkpoint.locked(0), refused, other.locked(0):
        pass
    with other.locked(0):
        pass


def test_only_what_training_changes_is_written(checkpoint, trained):
    settings, data, start = trained
    state = start()
    records = fit(state, data, settings, 0)
    for record in records:
        checkpoint.keep(state, {})
        names = set(module.load_file(str(checkpoint.folder / f"epoch-{record.epoch:05d}.safetensors")))
        blocks = {n.split(".")[3] for n in names if n.startswith("encoder.vit.layers.")}
        assert blocks == {str(i) for i in range(3 - record.stage, 3)}
        assert not any("embeddings" in name for name in names)
        assert {f"exp_avg/{n}" for n in names if "/" not in n} <= names
    assert len(list(checkpoint.folder.iterdir())) == 3
    checkpoint.remove()
    checkpoint.remove()
    assert not checkpoint.exists()
    assert not checkpoint.folder.exists()


def test_weights_of_another_network_are_refused(tiny_settings, tiny_network):
    with pytest.raises(RuntimeError):
        put_weights(tiny_network(tiny_settings()), {"no.such.weight": torch.zeros(1)})
