from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch

from cardio_mlflow.training import activation_store
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.backbone_pass import Activations

ROW = 528
"""Bytes of a row's file."""


@pytest.fixture
def store(tmp_path):
    return ActivationStore(tmp_path / "store", 25 * ROW)


def names(rows):
    return [str(number) for number in range(rows)]


def row(value):
    return Activations(torch.full((98,), float(value)), torch.tensor([0]))


def filled(store, key, rows=2, close=True):
    opened = store.open(key, 1, names(rows), ROW)
    for number in range(rows):
        opened.write(str(number), row(number))
    if close:
        opened.close()
    return opened


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_rows_come_back_as_they_were(store, dtype):
    rows = {str(i): torch.arange(24).view(2, 3, 4).to(dtype) + i for i in range(3)}
    opened = store.open("a", 1, names(3), 24 * dtype.itemsize)
    for name, tensor in rows.items():
        assert not opened.has(name)
        opened.write(name, Activations(tensor, torch.tensor([1, -1])))
    opened.close()
    again = store.open("a", 1, names(3), 24 * dtype.itemsize)
    assert again.is_complete()
    for name, tensor in rows.items():
        assert torch.equal(again.read(name).rows, tensor)
        assert again.read(name).rows.dtype == dtype
        assert again.read(name).frame_of.tolist() == [1, -1]


def test_a_row_that_is_not_there_cannot_be_read(store):
    with pytest.raises(KeyError):
        store.open("a", 1, names(1), 4).read("0")


def test_a_row_is_written_once(store):
    opened = filled(store, "a", close=False)
    opened.write("0", row(1))
    assert not opened.read("0").rows.any()


def test_a_file_cut_off_by_a_loss_of_power_is_written_again(store):
    opened = filled(store, "a")
    path = opened.folder / "1.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    again = store.open("a", 1, names(2), ROW)
    assert again.has("0")
    assert not again.has("1")
    again.write("1", row(1))
    assert again.read("1").rows.all()


def test_only_complete_sets_are_opened_as_existing(store):
    filled(store, "whole")
    store.open("half", 1, names(2), ROW).write("0", row(0))
    assert store.open_existing("whole", 1, names(2)) is not None
    assert store.open_existing("half", 1, names(2)) is None
    assert store.open_existing("none", 1, names(2)) is None


def used_ago(folder, seconds, rows="*"):
    for file in folder.glob(f"{rows}.safetensors"):
        os.utime(file, (time.time() - seconds,) * 2)


def test_the_least_recently_used_makes_way(store):
    for key, age in (("a", 1), ("b", 3), ("c", 2)):
        used_ago(filled(store, key, rows=8).folder, age * 1000)
    held = store.open("d", 1, names(8), ROW)
    assert sets(store) == {"a-01", "b-01", "c-01", "d-01"}
    assert len(list((store.folder / "b-01").glob("*.safetensors"))) == 1, "no more than need be"
    assert store.used() <= store.budget
    assert store.open("e", 1, names(4), ROW) is not None
    assert sets(store) == {"a-01", "c-01", "d-01", "e-01"}
    held.close()


def test_a_set_grows_by_the_rows_of_another_cohort(store):
    filled(store, "a", rows=8)
    used = store.used()
    assert used == 8 * ROW
    grown = store.open("a", 1, names(10), ROW)
    assert store.used() == 10 * ROW, "what is stored, and what is to come"
    assert [grown.has(row) for row in names(10)] == [True] * 8 + [False] * 2
    other = store.open("a", 1, ["9", "x", "y"], ROW)
    assert store.used() == 12 * ROW, "of two that want one row it is counted once"
    grown.write("9", row(9))
    assert other.has("9")
    assert store.used() == 12 * ROW
    grown.close()
    other.close()
    assert store.used() == 9 * ROW, "what nobody will write is not counted"


def test_rows_of_other_cohorts_make_way_before_one_s_own_of_other_depths(store):
    filled_at(store, "mine", 2, 8)
    filled(store, "mine", rows=12)
    used_ago(store.folder / "mine-01", 100, rows="1*")  # 1, 10 and 11: least recently used
    opened = store.open("mine", 1, ["0", *"abcdefg"], ROW)
    stored = {file.stem for file in opened.folder.glob("*.safetensors")}
    assert stored > {"0", *"23456789"}
    assert len(stored) == 10, "two of the least recently used had to go"
    assert len(list((store.folder / "mine-02").glob("*.safetensors"))) == 8


def test_a_set_that_cannot_be_completed_leaves_what_was_there_before(store):
    filled(store, "a", rows=3)
    opened = store.open("a", 1, names(5), ROW)
    opened.write("3", row(3))
    store.discard(opened)
    assert {file.stem for file in opened.folder.glob("*.safetensors")} == {"0", "1", "2"}
    one, two = store.open("a", 1, names(5), ROW), store.open("a", 1, names(2), ROW)
    one.write("3", row(3))
    store.discard(one)
    assert two.folder.joinpath("3.safetensors").is_file(), "another process may use it"


def test_a_set_in_use_does_not_make_way(store):
    held = filled(store, "a", rows=20, close=False)
    assert store.open("b", 1, names(8), ROW) is None
    assert held.read("7").rows.sum() == 98 * 7
    held.close()
    assert store.open("b", 1, names(8), ROW) is not None
    assert len(list((store.folder / "a-01").glob("*.safetensors"))) == 25 - 8


def test_one_s_own_sets_go_after_those_of_others_and_the_largest_first(store):
    for depth, rows in ((3, 1), (2, 8), (1, 6)):
        filled_at(store, "mine", depth, rows)
    filled(store, "other", rows=8)
    held = store.open("mine", 0, names(8), ROW)
    assert sets(store) == {"mine-03", "mine-02", "mine-01", "mine-00", "other-01"}
    assert len(list((store.folder / "other-01").glob("*.safetensors"))) == 2
    assert store.open("mine", 5, names(8), ROW) is not None
    assert sets(store) == {"mine-03", "mine-01", "mine-00", "mine-05"}, "the small ones stay"
    held.close()


def test_nothing_is_removed_for_what_would_not_fit_all_the_same(store):
    filled(store, "idle", rows=4)
    held = filled(store, "held", rows=16, close=False)
    assert store.open("large", 1, names(12), ROW) is None
    assert sets(store) == {"idle-01", "held-01"}
    held.close()


def test_what_held_sets_have_still_to_write_is_not_free(store, monkeypatch):
    monkeypatch.setattr(activation_store, "KEPT_FREE", 0)
    free = shutil.disk_usage(store.folder.parent).free
    large = ActivationStore(store.folder, 10 * free)
    held = large.open("held", 1, names(1), int(0.7 * free))
    assert held is not None
    assert large.open("next", 1, names(1), int(0.7 * free)) is None
    held.close()
    assert large.open("next", 1, names(1), int(0.7 * free)) is not None


def filled_at(store, source, depth, rows):
    opened = store.open(source, depth, names(rows), ROW)
    for number in range(rows):
        opened.write(str(number), row(number))
    opened.close()


def sets(store):
    return {path.name for path in store.folder.iterdir() if path.is_dir()}


def test_what_is_larger_than_the_budget_removes_nothing(store):
    filled(store, "a")
    assert store.open("b", 1, names(26), ROW) is None
    assert store.open_existing("a", 1, names(2)) is not None


def test_a_full_disk_has_no_room(store, monkeypatch):
    monkeypatch.setattr(activation_store, "KEPT_FREE", 10**18)
    assert store.open("a", 1, names(1), ROW) is None


HOLDER = """
import sys, torch
from pathlib import Path
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.backbone_pass import Activations
opened = ActivationStore(Path(sys.argv[1]), 25 * 528).open("a", 1, [str(i) for i in range(20)], 528)
opened.write("0", Activations(torch.zeros(98), torch.zeros(1, dtype=torch.int64)))
(opened.folder / "1.dead.part").write_bytes(b"half a row")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_living_process_holds_its_set_and_a_killed_one_does_not(store):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "held\n"
        assert store.open("b", 1, names(8), ROW) is None
    finally:
        process.kill()
        process.wait()
    again = store.open("a", 1, names(20), ROW)
    assert again.has("0")
    assert not list(again.folder.glob("*.part"))
    again.close()
    assert store.open("b", 1, names(8), ROW) is not None


def test_one_process_at_a_time_has_a_claim(store):
    one, two = store.open("a", 1, names(1), ROW), store.open("a", 1, names(1), ROW)
    with one.claimed("x", wait=False) as first:
        assert first
        with two.claimed("x", wait=False) as second:
            assert not second
        with two.claimed("y", wait=False) as other:
            assert other
    with two.claimed("x", wait=False) as later:
        assert later


def test_what_nobody_has_used_for_two_weeks_is_removed(store):
    old, new = filled(store, "old"), filled(store, "new")
    held = filled(store, "held", close=False)
    (store.folder / "half-removed").mkdir()
    used_ago(old.folder, 15 * 86400)
    used_ago(new.folder, 15 * 86400, rows="1")
    used_ago(held.folder, 15 * 86400)
    store.open("another", 1, names(1), ROW)
    assert sets(store) == {"new-01", "held-01", "another-01"}
    assert [file.stem for file in new.folder.glob("*.safetensors")] == ["0"]


def test_using_a_row_keeps_it_young(store):
    used_ago(filled(store, "a").folder, 15 * 86400)
    store.open("a", 1, names(3), ROW).close()
    store.open("b", 1, names(1), ROW)
    assert store.open_existing("a", 1, names(2)) is not None


def test_a_plan_that_cannot_be_read_counts_nothing_but_what_is_stored(store):
    held = filled(store, "a", rows=3, close=False)
    assert json.loads((held.folder / "plan.json").read_text()) == {"row_bytes": ROW, "rows": ["0", "1", "2"]}
    for broken in ('{"byt', '{"bytes": 1200}', "[]"):
        (held.folder / "plan.json").write_text(broken)
        assert store.used() == 3 * ROW
