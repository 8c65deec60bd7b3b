from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.errors import DivergedError, InputError
from cardio_mlflow.training.fit import fit, fit_together, hide_views, masked_loss
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.state import new_state, put_weights


def test_the_same_seed_gives_the_same_records(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(augmented_copies=1, speckle=0.2, view_dropout=0.2)

    def run(seed, disturb=False):
        losses = []
        for record in fit(new_state(tiny_network(settings), settings), tiny_fold(settings), settings, seed):
            losses.append((record.train_loss, record.val_loss, *record.predictions.ravel()))
            if disturb:
                torch.rand(17)
        return losses

    first = run(3)
    assert run(3) == first
    assert run(3, disturb=True) == first
    assert run(4) != first


def test_records_say_what_happened(tiny_settings, tiny_fold, tiny_network, predicted):
    settings = tiny_settings(epochs=12, vit_lr=2e-5, task_lr=0.02)
    data = tiny_fold(settings)
    network = tiny_network(settings)
    best, improved = np.inf, 0
    for number, record in enumerate(fit(new_state(network, settings), data, settings, seed=0), 1):
        assert record.epoch == number
        assert record.stage == (number - 1) // 4
        assert record.task_lr == 0.02
        assert record.backbone_lr == (2e-5 if record.stage else 0)
        assert record.predictions.shape == (3, 9)
        targets = data.targets[list(data.validation)]
        assert record.val_loss == pytest.approx(np.nanmean((record.predictions - targets) ** 2))
        assert record.improved == (record.val_loss < best)
        improved += record.improved
        best = min(best, record.val_loss)
        assert np.array_equal(
            record.predictions,
            predicted(network, data, settings, record.stage, data.validation),
        )
    assert 0 < improved < 12, "choose settings with better and worse epochs"


def test_the_best_weights_give_the_best_epochs_predictions(tiny_settings, tiny_fold, tiny_network, predicted):
    settings = tiny_settings(epochs=12, stages=3, task_lr=0.01)
    data, state = tiny_fold(settings), new_state(tiny_network(settings), settings)
    records = list(fit(state, data, settings, seed=0))
    best = min(records, key=lambda r: r.val_loss)
    assert best is not records[-1], "choose settings that overfit"
    assert best.stage < 3, "choose settings whose best epoch is before the last block is trained"
    assert (state.best_epoch, state.best_loss) == (best.epoch, best.val_loss)
    assert np.array_equal(state.best_predictions, best.predictions)
    network = put_weights(tiny_network(settings), state.best_weights)
    again = predicted(network, data, settings, 3, data.validation)
    assert again == pytest.approx(best.predictions, abs=1e-5)


def test_learns_what_can_be_learned(tiny_settings, tiny_fold, tiny_network):
    """The brightness of the first view decides every target."""
    settings = tiny_settings(epochs=40, stages=0, task_lr=3e-3, batch_size=8)
    data = tiny_fold(settings, patients=24)
    brightness = np.linspace(-1, 1, 24)
    data.features.clips.present[:] = True
    data.features.clips.clips[:] = torch.tensor(128 + 100 * brightness).view(-1, 1, 1, 1, 1).to(torch.uint8)
    data = dataclasses.replace(
        data,
        targets=np.repeat(brightness[:, None], 9, 1),
        training=tuple(range(0, 24, 2)),
        validation=tuple(range(1, 24, 2)),
    )
    records = list(fit(new_state(tiny_network(settings), settings), data, settings, seed=0))
    assert records[-1].train_loss < 0.1 * records[0].train_loss
    assert min(r.val_loss for r in records) < 0.05
    r = np.corrcoef(records[-1].predictions[:, 0], brightness[1::2])[0, 1]
    assert r > 0.95


def test_validation_patients_do_not_influence_training(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings()
    data = tiny_fold(settings)
    other = dataclasses.replace(data, targets=data.targets.copy())
    other.targets[list(data.validation)] += 5
    one, two = tiny_network(settings), tiny_network(settings)
    losses = [r.train_loss for r in fit(new_state(one, settings), data, settings, seed=0)]
    assert losses == [r.train_loss for r in fit(new_state(two, settings), other, settings, seed=0)]
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


def test_a_loss_that_is_not_finite_stops_with_epoch_batch_and_patients(
    tiny_settings, tiny_fold, tiny_network
):
    settings = tiny_settings(batch_size=1)
    data = tiny_fold(settings)
    data.targets[4, 2] = np.inf
    with pytest.raises(InputError, match=r"epoch 1, batch \d.*Patients: P004\.") as caught:
        list(fit(new_state(tiny_network(settings), settings), data, settings, seed=0))
    assert "precision=fp32" in str(caught.value)


def test_a_gradient_that_is_not_finite_stops_at_its_own_batch(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(batch_size=7)
    network = tiny_network(settings)
    network.temporal.gate.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(InputError, match="epoch 1, batch 1"):
        list(fit(new_state(network, settings), tiny_fold(settings), settings, seed=0))
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def test_a_validation_loss_that_is_not_finite_stops_and_names_the_patient(
    tiny_settings, tiny_fold, tiny_network
):
    settings = tiny_settings()
    data = tiny_fold(settings)
    data.features.prepare(3)
    name = f"{data.features.clips.content_of(8)}-00"
    row = data.features._kept[3].read(name)
    row.rows.fill_(float("nan"))
    network = tiny_network(settings)
    with pytest.raises(InputError, match=r"validation loss is not finite in epoch 1.*Patients: P008\."):
        list(fit(new_state(network, settings), data, settings, seed=0))


def test_too_many_stages_are_refused_before_training(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(stages=4, epochs=10)
    with pytest.raises(InputError, match=r"stages=4 .*at most 3"):
        next(fit(new_state(tiny_network(settings), settings), tiny_fold(settings), settings, seed=0))


def test_a_batch_without_any_reference_is_harmless(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(batch_size=1)
    data = tiny_fold(settings)
    data.targets[0] = np.nan
    assert np.isfinite(
        [r.train_loss for r in fit(new_state(tiny_network(settings), settings), data, settings, seed=0)]
    ).all()


@given(st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_masked_loss_is_the_mean_over_what_is_there(rows, share, seed):
    rng = np.random.default_rng(seed)
    predictions, targets = rng.normal(size=(2, rows, 9))
    targets[rng.random(targets.shape) < share] = np.nan
    loss = float(masked_loss(torch.from_numpy(predictions), torch.from_numpy(targets)))
    expected = np.nanmean((predictions - targets) ** 2) if np.isfinite(targets).any() else 0.0
    assert loss == pytest.approx(expected)


def test_masked_loss_has_no_gradient_where_a_reference_is_missing():
    predictions = torch.ones(2, 9, requires_grad=True)
    targets = torch.zeros(2, 9)
    targets[0, 3] = float("nan")
    masked_loss(predictions, targets).backward()
    assert predictions.grad[0, 3] == 0
    assert predictions.grad.isfinite().all()
    assert (predictions.grad != 0).sum() == 17


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5), st.floats(0, 1))
def test_hiding_views_never_adds_one_and_never_hides_the_last(mask, chance):
    present = torch.tensor(mask)
    shown = hide_views(present, chance)
    assert not (shown & ~present).any()
    assert torch.equal(shown.any(1), present.any(1))


def test_views_are_hidden_at_the_stated_rate():
    torch.manual_seed(0)
    present = torch.ones(4000, 4, dtype=torch.bool)
    assert torch.equal(hide_views(present, 0.0), present)
    assert float((~hide_views(present, 0.2)).float().mean()) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rates_follow_the_schedule_within_each_stage(
    tiny_settings, tiny_fold, tiny_network, schedule
):
    """Warm-up over half an epoch of each stage of two; seven patients in batches of two are four steps."""
    settings = tiny_settings(
        epochs=6, stages=2, batch_size=2, task_lr=0.01, vit_lr=0.001, layer_decay=0.5,
        lr_schedule=schedule, warmup_epochs=0.5,
    )  # fmt: skip
    state, taken = new_state(tiny_network(settings), settings), []
    state.optimizer.register_step_pre_hook(
        lambda optimizer, *_: taken.append({g["name"]: g["lr"] for g in optimizer.param_groups})
    )
    records = list(fit(state, tiny_fold(settings), settings, seed=0))
    done = (np.arange(8) + 0.5) / 4
    after = 0.5 * (1 + np.cos(np.pi * (done - 0.5) / 1.5)) if schedule == "cosine" else np.ones(8)
    factors = np.tile(np.where(done < 0.5, done / 0.5, after), 3)
    own = {"task": 0.01, "block-3": 0.001, "block-2": 0.0005, "block-1": 0.00025}
    for name, rate in own.items():
        assert [rates[name] for rates in taken] == pytest.approx(rate * factors), name
    assert [r.task_lr for r in records] == pytest.approx(0.01 * factors[3::4])
    assert [r.backbone_lr for r in records] == pytest.approx([0, 0, *(0.001 * factors[3::4][2:])])


def test_folds_together_are_what_each_is_alone(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(epochs=4, stages=1, view_dropout=0.3)
    one = tiny_fold(settings)
    folds, seeds = [one, dataclasses.replace(one, training=one.validation, validation=one.training)], [5, 6]
    states = [new_state(tiny_network(settings), settings) for _ in folds]
    together = list(fit_together(states, folds, settings, seeds, Processes()))
    assert [joint.epoch for joint in together] == [1, 2, 3, 4]
    for place, (fold, seed) in enumerate(zip(folds, seeds, strict=True)):
        alone = list(fit(new_state(tiny_network(settings), settings), fold, settings, seed))
        for joint, record in zip(together, alone, strict=True):
            assert joint.records[place].val_loss == record.val_loss
            assert joint.records[place].train_loss == record.train_loss
            np.testing.assert_array_equal(joint.records[place].predictions, record.predictions)
    losses = [[record.val_loss for record in joint.records] for joint in together]
    assert [joint.val_loss for joint in together] == pytest.approx(np.mean(losses, axis=1))
    assert [state.best_loss for state in states] == np.min(losses, axis=0).tolist()


def test_leaving_early_lets_go_of_the_features(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(epochs=4, stages=1)
    fold = tiny_fold(settings)
    state = new_state(tiny_network(settings), settings)
    joint = fit_together([state], [fold], settings, [1], Processes())
    next(joint)
    assert fold.features.is_kept(state.network.encoder.depth)
    joint.close()
    assert not fold.features.is_kept(state.network.encoder.depth)


def test_a_fold_that_diverges_ends_them_all(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(epochs=3, stages=0)
    fold = tiny_fold(settings)
    states = [new_state(tiny_network(settings), settings) for _ in range(2)]
    joint = fit_together(states, [fold, fold], settings, [1, 2], Processes())
    next(joint)
    for group in states[1].optimizer.param_groups:
        group["initial_lr"] = float("inf")
    with pytest.raises(DivergedError, match="not finite in epoch"):
        list(joint)
