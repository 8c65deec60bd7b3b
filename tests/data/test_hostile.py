"""Hostile files: each ends in its code, soon, in little memory, and without a name."""

from __future__ import annotations

import resource
import shutil

import pytest

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from tests.data.hostile import write_corpus
from tests.data.small_clips import PLANTED

MAX_GROWTH_KB = 200 * 1024
LATER = {Outcome.NO_SECTOR, Outcome.NO_FULL_CYCLE, Outcome.NO_TIMING}
"""What may become of a sound file of three frames after decoding."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    yield write_corpus(folder)
    shutil.rmtree(folder)


def _outcome(path, read):
    try:
        read(path)
    except ClipRefused as error:
        refusal = error
    else:
        return Outcome.OK
    for word in (*PLANTED.split("^"), path.stem, str(path.parent)):
        assert word.lower() not in refusal.message.lower()
    assert refusal.__cause__ is None
    return refusal.outcome


def _decode(path):
    header = read_header(path)
    assert PLANTED not in repr(header).replace(repr(path), "")
    for frame in LumaFrames(header):
        assert frame.shape == (header.rows, header.columns)


@pytest.mark.timeout(120)
def test_every_hostile_file_ends_in_its_code(corpus, caplog):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wrong = [
        (path.stem, outcome, sorted(allowed))
        for path, allowed in corpus
        if (outcome := _outcome(path, _decode)) not in allowed
    ]
    assert not wrong
    assert not caplog.records
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start < MAX_GROWTH_KB


@pytest.mark.timeout(120)
def test_preparation_gives_nothing_of_a_refused_file(corpus):
    wrong = []
    for path, allowed in corpus:
        outcome = _outcome(path, prepare_clip)
        if outcome not in (allowed | LATER if Outcome.OK in allowed else allowed):
            wrong.append((path.stem, outcome, sorted(allowed)))
    assert not wrong


def test_the_corpus_is_the_same_each_time(corpus, tmp_path):
    again = write_corpus(tmp_path)
    assert [path.name for path, _ in again] == [path.name for path, _ in corpus]
    small = [
        (a, b)
        for (a, _), (b, _) in zip(again, corpus, strict=True)
        if a.is_file() and a.stat().st_size < 10**6
    ]
    assert len(small) > 100
    assert not [a.name for a, b in small if a.read_bytes() != b.read_bytes()]
