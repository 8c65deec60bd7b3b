"""The child process: what it prepares; clips that crash it, hang it, eat memory or take it over."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.batch import sandbox as sandbox_module
from cardio_mlflow.data.batch.sandbox import (
    BadAnswerError,
    ClipStopped,
    Limits,
    Sandbox,
    SandboxClosedError,
    clip_head,
    clip_or_refusal,
    receive_answer,
    send_answer,
)
from cardio_mlflow.data.clips import PreparedClip, prepare_clip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError

CLIP = PreparedClip(
    np.random.default_rng(0).integers(0, 256, (32, 224, 224)).astype(np.uint8),
    Quality(rows=480, fit_score=0.5, phase_verified=True, gating="tags"),
    ClipReview(outline=((1.0, 2.0), (3.5, 4.0)), ecg_s=(0.0, 0.5), ecg=(0.0, 1.0), cycle_s=(0.1, 0.9)),
)
HOSTILE = """
    import ctypes, os, resource, sys, time
    import numpy as np
    from cardio_mlflow.data.clips import PreparedClip
    from cardio_mlflow.data.outcomes import ClipRefused, Outcome
    from cardio_mlflow.data.quality import Quality

    def prepare_clip(path, check_text=False):
        return globals()[path.name](path, check_text)

    def good(path, check_text):
        frames = np.full((32, 224, 224), os.getpid() % 251, np.uint8)
        return PreparedClip(frames, Quality(rows=int(check_text)))

    def say(path, check_text):
        print("WORDS"); print("WORDS", file=sys.stderr); os.write(1, b"WORDS"); os.write(2, b"WORDS")
        return good(path, check_text)

    def abort(path, check_text):
        os.abort()

    def crash(path, check_text):
        ctypes.string_at(0)

    def leave(path, check_text):
        os._exit(0)

    def killed(path, check_text):
        os.kill(os.getpid(), 9)

    def hang(path, check_text):
        time.sleep(60)

    def spin(path, check_text):
        while True:
            pass

    def eat(path, check_text):
        return [np.ones(2**26, np.uint8) for _ in range(64)]

    def swallow(path, check_text):
        try:
            eat(path, check_text)
        except MemoryError:
            raise ClipRefused(Outcome.CORRUPT_FRAME, "frame 1") from None

    def fault(path, check_text):
        raise KeyError("WORDS of the file")

    def fill(path, check_text):
        try:
            path.with_name("written").write_bytes(bytes(2**22))
        except OSError as fault:
            raise ClipRefused(Outcome.BAD_VIDEO, str(fault.errno))

    def confess(path, check_text):
        limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)]
        raise ClipRefused(Outcome.BAD_VIDEO, " ".join(sorted(os.environ)) + str(limits))

    def blurt(path, check_text):
        for descriptor in range(3, 30):
            try:
                os.write(descriptor, b"\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00{}" * 3)
            except OSError:
                pass
        return good(path, check_text)

    def lie(path, check_text):
        return PreparedClip(good(path, check_text).frames, Quality(rows="a patient"))

    def shrink(path, check_text):
        return PreparedClip(np.zeros((2, 2), np.uint8), Quality())
"""


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A sandbox whose child does what the file's name says."""
    (tmp_path / "hostile.py").write_text(textwrap.dedent(HOSTILE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sandbox_module, "_PREPARATION", "hostile")
    with Sandbox(Limits(seconds=60, memory=300)) as sandbox:
        yield sandbox


def refusal(sandbox: Sandbox, name: str) -> ClipRefused:
    with pytest.raises(ClipRefused) as caught:
        sandbox.prepare(Path(name))
    return caught.value


def test_it_prepares_what_the_function_prepares(tmp_path, fan, write_dicom):
    path = write_dicom(tmp_path / "plain.dcm", fan()).rename(tmp_path / "süß \udcff.dcm")
    bad = tmp_path / "bad.dcm"
    bad.write_text("no clip")
    with Sandbox() as sandbox:
        found, expected = sandbox.prepare(path), prepare_clip(path)
        np.testing.assert_array_equal(found.frames, expected.frames)
        assert found.quality == expected.quality
        assert found.review == expected.review
        assert len(sandbox.instance(path)) == 32
        assert sandbox.instance(bad) == ""
        assert refusal(sandbox, str(bad)).outcome == Outcome.NOT_DICOM
        np.testing.assert_array_equal(sandbox.prepare(path).frames, expected.frames)


def test_tensors_are_read_within_the_limit(tmp_path):
    import torch

    path = tmp_path / "clip.pt"
    torch.save(torch.rand(40, 64, 64), path)
    with Sandbox(Limits(memory=256)) as sandbox:
        assert sandbox.prepare(path).quality.gating == "tensor"


@pytest.mark.parametrize("name", ["abort", "crash", "leave"])
def test_a_child_that_dies_is_replaced(hostile, name):
    before = hostile.prepare(Path("good")).frames[0, 0, 0]
    failure = refusal(hostile, name)
    assert (failure.outcome, failure.message) == (Outcome.CORRUPT_FRAME, "the decoder died")
    assert not isinstance(failure, ClipStopped)
    assert hostile.prepare(Path("good")).frames[0, 0, 0] != before


@pytest.mark.parametrize("name", ["hang", "spin"])
def test_a_child_that_hangs_is_replaced(hostile, name):
    hostile.limits = Limits(seconds=0.5)
    hostile.prepare(Path("good"))
    start = time.monotonic()
    failure = refusal(hostile, name)
    assert time.monotonic() - start < 10
    assert isinstance(failure, ClipStopped)
    assert (failure.outcome, failure.message) == (Outcome.CORRUPT_FRAME, "took longer than 0.5 s")
    hostile.limits = Limits()
    hostile.prepare(Path("good"))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("name", ["eat", "swallow", "killed"])
def test_memory_has_a_limit(hostile, name):
    failure = refusal(hostile, name)
    assert isinstance(failure, ClipStopped)
    assert (failure.outcome, failure.message) == (Outcome.TOO_LARGE, "needs more than 300 MiB of memory")
    hostile.prepare(Path("good"))


def test_a_fault_of_the_program_is_named_without_its_words(hostile):
    failure = refusal(hostile, "fault")
    assert failure.outcome == Outcome.CORRUPT_FRAME
    assert failure.message.startswith("the program failed: KeyError in ")
    assert "WORDS" not in failure.message


@pytest.mark.parametrize("name", ["blurt", "lie", "shrink"])
def test_an_answer_that_makes_no_sense_is_refused(hostile, name):
    failure = refusal(hostile, name)
    assert failure.message == "the decoder sent an answer that makes no sense"
    assert hostile.prepare(Path("good"), check_text=True).quality.rows == 1


def test_the_child_has_no_more_than_it_needs(hostile, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("CARDIOAI_EPOCHS", "3")
    words = refusal(hostile, "confess").message
    assert "OMP_NUM_THREADS" in words
    for name in ("MLFLOW", "CARDIOAI", "HOME", "USER"):
        assert name not in words
    assert words.endswith("[(0, 0), (1048576, 1048576)]")
    assert refusal(hostile, str(tmp_path / "fill")).outcome == Outcome.BAD_VIDEO
    hostile.prepare(Path("say"))
    assert "WORDS" not in "".join(capfd.readouterr())


def test_closing_gives_up_the_clip_at_once(hostile):
    hostile.prepare(Path("good"))
    threading.Timer(0.3, hostile.close).start()
    start = time.monotonic()
    with pytest.raises(SandboxClosedError):
        hostile.prepare(Path("hang"))
    assert time.monotonic() - start < 10
    with pytest.raises(SandboxClosedError):
        hostile.prepare(Path("good"))


def test_a_child_that_cannot_start_is_an_error(monkeypatch, capfd):
    monkeypatch.setattr(sandbox_module, "_PREPARATION", "no_such_module")
    with Sandbox() as sandbox, pytest.raises(InputError, match="could not be started"):
        sandbox.prepare(Path("x"))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with Sandbox() as sandbox, pytest.raises(InputError, match="No such file"):
        sandbox.prepare(Path("x"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_child_ends_with_its_parent(hostile, tmp_path):
    code = """
        import sys; from pathlib import Path
        from cardio_mlflow.data.batch import sandbox
        sandbox._PREPARATION = "hostile"
        with sandbox.Sandbox() as one:
            one.prepare(Path("good")); print(one._child._process.pid, flush=True); one.prepare(Path("hang"))
    """
    places = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, env=os.environ | places
    )
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(child)


def test_a_child_whose_parent_is_gone_before_it_started_says_nothing():
    child = subprocess.Popen(
        [sys.executable, "-m", sandbox_module._CHILD, sandbox_module._PREPARATION, "1024", "60"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    child.stdin.close()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(30) != 0


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_answer_arrives_as_it_was_sent():
    stream = io.BytesIO()
    send_answer(stream, clip_head(CLIP), CLIP.frames.tobytes())
    stream.seek(0)
    found = clip_or_refusal(*receive_answer(stream))
    np.testing.assert_array_equal(found.frames, CLIP.frames)
    assert (found.quality, found.review) == (CLIP.quality, CLIP.review)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(list(Outcome)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
PIXELS = CLIP.frames.tobytes()


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data):
    with pytest.raises((EOFError, BadAnswerError)):
        clip_or_refusal(*receive_answer(io.BytesIO(data)))


@given(st.data(), st.sampled_from(["quality", "review"]), JSON)
def test_every_field_has_its_type(data, part, value):
    head = json.loads(json.dumps(clip_head(CLIP)))
    name = data.draw(st.sampled_from(sorted(head[part])))
    sound, head[part][name] = type(head[part][name]), value
    try:
        found = getattr(clip_or_refusal(head, PIXELS), part)
    except BadAnswerError:
        return
    got = getattr(found, name)
    allowed = {list: tuple, type(None): (int, float, bool, type(None))}.get(sound, sound)
    assert isinstance(got, (allowed, type(None)) if sound in (int, float, bool) else allowed)


@given(JSON, JSON)
def test_no_refusal_breaks_the_reader(outcome, message):
    with pytest.raises((BadAnswerError, ClipRefused)) as caught:
        clip_or_refusal({"outcome": outcome, "message": message}, b"")
    if isinstance(caught.value, ClipRefused):
        assert caught.value.outcome in set(Outcome) - {Outcome.OK}
        assert caught.value.message.isascii()
        assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "lengths",
    [(2**32 - 1, 0), (0, 2**32 - 1), (2, 5), (2, len(PIXELS) + 1)],
    ids=["head", "pixels", "few", "more"],
)
def test_lengths_are_checked_before_anything_is_read(lengths):
    stream = io.BytesIO(np.array(lengths, ">u4").tobytes() + b"{}" * 9)
    with pytest.raises(BadAnswerError):
        receive_answer(stream)
    assert stream.tell() == 8
