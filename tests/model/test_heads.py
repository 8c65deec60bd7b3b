from __future__ import annotations

import torch

from cardio_mlflow.model.network import Heads, RegressionHead


def test_a_head_is_the_layers_plus_a_linear_path():
    head = RegressionHead(8, 0.0)
    features = torch.randn(5, 8)
    normed = torch.nn.functional.layer_norm(features, (8,))
    assert torch.allclose(head(features), head.layers(normed) + head.linear(normed), atol=1e-6)
    assert [layer.out_features for layer in head.layers if isinstance(layer, torch.nn.Linear)] == [
        256,
        128,
        1,
    ]
    torch.nn.init.zeros_(head.layers[-1].weight)
    torch.nn.init.zeros_(head.layers[-1].bias)
    assert torch.allclose(head(features), head.linear(normed))


def test_each_column_is_its_own_head():
    heads = Heads(8, 9, 0.0).requires_grad_(False)
    features = torch.randn(4, 8)
    before = heads(features)
    assert before.shape == (4, 9)
    heads.heads[3].linear.bias += 1
    changed = (heads(features) - before).abs().max(0).values
    assert torch.allclose(changed, torch.eye(9)[3], atol=1e-6)


def test_dropout_acts_in_training_only():
    heads, features = Heads(8, 9, 0.5), torch.randn(4, 8)
    assert not torch.equal(heads.train()(features), heads(features))
    assert torch.equal(heads.eval()(features), heads(features))
