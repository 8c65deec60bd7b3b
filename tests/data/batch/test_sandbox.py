"""The child process: what it prepares; clips that crash it, hang it, eat memory or take it over."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import asdict
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from pydantic import ValidationError

from cardio_mlflow.data.batch import sandbox as sandbox_module
from cardio_mlflow.data.batch.sandbox import Answer, ClipStopped, Limits, Sandbox, SandboxClosedError
from cardio_mlflow.data.clips import PreparedClip, prepare_clip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError
from tests.data.small_clips import fan, write_clip
from tests.waiting import wait_for_the_end_of

CLIP = PreparedClip(
    np.random.default_rng(0).integers(0, 256, (32, 224, 224)).astype(np.uint8),
    Quality(rows=480, fit_score=0.5, phase_verified=True, gating="tags"),
    ClipReview(outline=((1.0, 2.0), (3.5, 4.0)), ecg_s=(0.0, 0.5), ecg=(0.0, 1.0), cycle_s=(0.1, 0.9)),
    "0123456789abcdef" * 2,
)
HOSTILE = """
    import ctypes, os, resource, sys, time
    import numpy as np
    from cardio_mlflow.data.outcomes import ClipRefused, Outcome
    from cardio_mlflow.data.quality import ClipReview, Quality
    from types import SimpleNamespace

    def prepare_clip(path, check_text=False):
        return globals().get(path.name, send)(path, check_text)

    def clip(frames, quality):
        return SimpleNamespace(frames=frames, quality=quality, review=ClipReview(), instance="")

    def good(path, check_text):
        frames = np.full((32, 224, 224), os.getpid() % 251, np.uint8)
        return clip(frames, Quality(rows=int(check_text)))

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

    def killed_once(path, check_text):
        if not path.exists():
            path.touch()
            killed(path, check_text)
        return good(path, check_text)

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

    def framed(data, length=None):
        return (len(data) if length is None else length).to_bytes(4, "big") + data

    SENT = {
        "blurt": framed(b"{}") * 3,
        "promise_much": b"\\xff\\xff\\xff\\xff" + b"\\x7f" * 8,
        "promise_too_much": framed(b"", 4 * 2**20 + 1),
        "stall": framed(b"{", 256),
        "pickled": framed(b"cbuiltins\\nprint\\n(S'WORDS'\\ntR."),
        "old": framed(b'{"number":0,"quality":{"outcome":"NO_SECTOR","message":"of before"}}'),
    }

    def send(path, check_text):
        for descriptor in range(3, 999):
            try:
                os.write(descriptor, SENT[path.name])
            except OSError:
                pass
        if path.name in ("promise_much", "promise_too_much", "stall"):
            time.sleep(60)
        return good(path, check_text)

    def shut(path, check_text):
        os.closerange(3, 999)
        time.sleep(60)

    def descriptors(path, check_text):
        raise ClipRefused(Outcome.BAD_VIDEO, " ".join(sorted(os.listdir("/proc/self/fd"), key=int)))

    def lie(path, check_text):
        return clip(good(path, check_text).frames, Quality(rows="a patient"))

    def shrink(path, check_text):
        return clip(np.zeros((2, 2), np.uint8), Quality())

    def swell(path, check_text):
        return clip(np.zeros((64, 224, 224), np.uint8), Quality())
"""


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A sandbox whose child does what the file's name says."""
    (tmp_path / "hostile.py").write_text(textwrap.dedent(HOSTILE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sandbox_module, "_PREPARATION", "hostile")
    with Sandbox(Limits(seconds=60, memory=300)) as sandbox:
        yield sandbox


def refusal(sandbox, name):
    with pytest.raises(ClipRefused) as caught:
        sandbox.prepare(Path(name))
    return caught.value


def test_it_prepares_what_the_function_prepares(tmp_path):
    path = write_clip(tmp_path / "plain.dcm", fan()).rename(tmp_path / "süß \udcff.dcm")
    bad = tmp_path / "bad.dcm"
    bad.write_text("no clip")
    with Sandbox() as sandbox:
        found, expected = sandbox.prepare(path), prepare_clip(path)
        np.testing.assert_array_equal(found.frames, expected.frames)
        assert found.quality == expected.quality
        assert found.review == expected.review
        assert len(found.instance) == 32
        assert found.instance == expected.instance
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


def test_a_child_that_somebody_kills_costs_no_clip(hostile, tmp_path):
    assert hostile.prepare(tmp_path / "killed_once", check_text=True).quality.rows == 1


@pytest.mark.parametrize("name", ["hang", "spin", "stall"])
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


@pytest.mark.parametrize(
    "name", ["blurt", "lie", "shrink", "swell", "promise_much", "promise_too_much", "pickled", "old"]
)
def test_an_answer_that_makes_no_sense_is_refused(hostile, name, capfd):
    failure = refusal(hostile, name)
    assert failure.message == "the decoder sent an answer that makes no sense"
    assert "WORDS" not in "".join(capfd.readouterr())
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


def test_the_child_imports_no_numpy_before_it_may_use_one_thread_only():
    code = "import sys, cardio_mlflow.data.batch.child; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_the_child_has_no_file_of_its_parent(hostile, tmp_path):
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        assert len(refusal(hostile, "descriptors").message.split()) == 6, "streams, pipe, parent, the folder"


def test_a_child_that_lives_on_unheard_is_ended(hostile):
    hostile.prepare(Path("good"))
    process = hostile._process
    assert refusal(hostile, "shut").message == "the decoder died"
    assert process.exitcode == -signal.SIGKILL


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
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/no/such/python")
    with Sandbox() as sandbox, pytest.raises(InputError, match="could not be started"):
        sandbox.prepare(Path("x"))


UNGUARDED = """
    import multiprocessing
    import sys
    from pathlib import Path
    from cardio_mlflow.data.batch import sandbox

    print("runs", flush=True)
    sandbox._PREPARATION = "hostile"
    with sandbox.Sandbox() as one:
        one.prepare(Path("good"))
    print(sys.modules["__main__"].__spec__, multiprocessing.get_start_method(allow_none=True))
"""


def test_a_script_without_a_main_guard_runs_once(hostile, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(UNGUARDED))
    command, places = [sys.executable, tmp_path / "script.py"], os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert (done.stdout, done.stderr) == ("runs\nNone None\n", "")


def in_a_worker(folder):
    sys.path.insert(0, folder)
    sandbox_module._PREPARATION = "hostile"
    with Sandbox() as sandbox:
        return str(sandbox.prepare(Path("good")).quality.outcome)


def test_clips_are_prepared_in_a_worker_where_it_may_start_processes(hostile, tmp_path):
    with joblib.parallel_config("loky"):
        assert joblib.Parallel(n_jobs=2)([joblib.delayed(in_a_worker)(str(tmp_path))]) == ["OK"]
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(InputError, match="Pool"):
        pool.apply(in_a_worker, [str(tmp_path)])


def test_a_child_ends_with_its_parent(hostile, tmp_path):
    code = """
        import sys; from pathlib import Path
        from cardio_mlflow.data.batch import sandbox
        sandbox._PREPARATION = "hostile"
        with sandbox.Sandbox() as one:
            one.prepare(Path("good")); print(one._process.pid, flush=True); one.prepare(Path("hang"))
    """
    places = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, env=os.environ | places
    )
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    wait_for_the_end_of([child])


def head_of(clip=CLIP):
    """An answer's head, as JSON gives it back."""
    return json.loads(json.dumps({"number": 1, "quality": asdict(clip.quality), "review": asdict(clip.review),
                                  "instance": clip.instance}))  # fmt: skip


BAD_VALUES = {
    "a control character": ("message", "a\nb"), "no ASCII": ("message", "ä"), "long": ("message", "x" * 301),
    "long notes": ("notes", "x" * 1001),
    "huge": ("rows", 2**31), "infinite": ("fit_score", float("inf")), "none": ("fit_score", float("nan")),
    "a large number": ("fit_score", 1e12), "truth": ("rows", True), "a new field": ("new", 1),
    "a new outcome": ("outcome", "FINE"),
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_what_is_out_of_bounds_is_refused(field, value):
    head = head_of()
    head["quality"]["notes"] = "x" * 1000
    found = Answer.model_validate_json(json.dumps(head))
    assert (found.review, found.instance) == (CLIP.review, CLIP.instance), "as it was sent"
    head["quality"][field] = value
    with pytest.raises(ValidationError):
        Answer.model_validate_json(json.dumps(head))


@pytest.mark.parametrize(
    "change",
    [{"instance": "ab"}, {"instance": "G" * 32}, {"more": 1}, {"number": "1"},
     {"review": {"ecg": [0] * 100_001}}],
)  # fmt: skip
def test_a_head_has_its_own_fields_alone_and_a_list_an_end(change):
    with pytest.raises(ValidationError):
        Answer.model_validate_json(json.dumps(head_of() | change))
