"""Hostile files: each ends in its code, soon, in little memory, and without a name."""

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


def test_preparation_gives_nothing_of_a_refused_file(corpus):
    """Three frames are no heart cycle, so that sound files are refused too, if they get so far."""
    later = {Outcome.NO_SECTOR, Outcome.NO_FULL_CYCLE, Outcome.NO_TIMING}
    chosen = [(path, allowed) for path, allowed in corpus if Outcome.OK in allowed] + corpus[::20]
    assert not [path for path, allowed in chosen if _outcome(path, prepare_clip) not in allowed | later]
