from __future__ import annotations

import subprocess
import sys
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.training.processes import Processes, join_processes

CPU = torch.device("cpu")


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_cover_everything_once_and_differ_by_one_at_most(items, count):
    shares = Processes(0, count, CPU).shares(items)
    assert list(chain(*shares)) == list(range(items))
    lengths = {len(share) for share in shares}
    assert max(lengths) - min(lengths) <= 1
    assert [Processes(rank, count, CPU).share(items) for rank in range(count)] == shares


def test_one_process_gathers_and_sums_nothing():
    with join_processes() as alone:
        pass
    assert (alone.rank, alone.count, alone.is_main) == (0, 1, True)
    rows = torch.ones(3, 2, requires_grad=True)
    assert alone.gather(rows, [3]) is rows
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad.clone()
    alone.sum_gradients([layer])
    alone.average_gradients([layer])
    assert torch.equal(layer.weight.grad, before)
    alone.check_same(3, "epoch")
    alone.wait()


TOGETHER = """
import sys, torch
from cardio_mlflow.errors import InputError
from cardio_mlflow.training.processes import join_processes
torch.set_num_threads(1)
with join_processes() as p:
    assert p.count == 3 and p.is_main == (p.rank == 0)
    counts = [2, 0, 1]
    rows = (torch.arange(counts[p.rank] * 2).float().view(-1, 2) + 10 * p.rank).requires_grad_()
    whole = p.gather(rows, counts)
    assert whole.tolist() == [[0, 1], [2, 3], [20, 21]], whole
    (whole * torch.tensor([[1.0], [2.0], [3.0]])).sum().backward()
    assert rows.grad.tolist() == [[[1, 1], [2, 2]], [], [[3, 3]]][p.rank], rows.grad
    layer = torch.nn.Linear(1, 1)
    if p.rank != 1:
        layer.weight.grad = torch.full((1, 1), float(p.rank + 1))
    p.sum_gradients([layer])
    assert layer.weight.grad.item() == 4 and layer.bias.grad.item() == 0
    layer.weight.grad = torch.full((1, 1), float(p.rank))
    p.average_gradients([layer])
    assert layer.weight.grad.item() == 1
    p.check_same(7, "epoch")
    try:
        p.check_same(min(p.rank, 1), "epoch that they resume after")
    except InputError as error:
        assert "[0, 1, 1]" in str(error), error
        (open(sys.argv[1] + str(p.rank), "w")).close()
    p.wait()
assert not torch.distributed.is_initialized(), "the group outlives the work"
"""


@pytest.mark.timeout(300)
def test_three_processes_gather_rows_and_reduce_gradients(tmp_path):
    """One has no rows, one has no gradient; all told where they differ."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path / "done")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("done*")) == ["done0", "done1", "done2"]
