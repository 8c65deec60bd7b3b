"""The process that decodes files nobody vouches for: started, watched and replaced by ``child_process.py``.

Before the first file it gives up what decoding does not need: more memory than the limit, files, core dumps,
the environment, its standard streams. It ends when its parent does. What is heavy is imported in `serve`,
once the environment says that libraries shall use one thread.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from cardio_mlflow.data.outcomes import ClipRefused, Outcome

# The variables that are kept: no addresses of servers, no passwords.
_KEPT: Final = {"PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP"}
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_MIB: Final = 1024**2
_FILE_BYTES: Final = _MIB  # for what codecs say about damaged frames, in a nameless temporary file
_SPARE_SECONDS: Final = 5.0  # the parent's clock comes first; this one counts when the parent has gone
_PREPARATION: Final = "prepare_clip"
_NO_MEMORY: Final = -4  # OpenCV's StsNoMem


def serve(connection: Connection, module: str, function: str, memory: int, seconds: float) -> None:
    """Say that all is imported, then answer requests with a head and, of a prepared clip, its frames.

    Requests and heads are JSON. The ``function`` of a ``module`` is called with a path and options, and gives
    a `PreparedClip` if it is called ``prepare_clip``, else a record; it may use so many MiB of ``memory``
    over what is in use when all is imported, and so many ``seconds`` of processor time per file.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    _keep_little(connection)
    work = getattr(importlib.import_module(module), function)
    importlib.import_module("cv2").setNumThreads(1)
    _limit("RLIMIT_CORE", 0, 0)
    _limit("RLIMIT_FSIZE", _FILE_BYTES, _FILE_BYTES)
    _limit_memory(memory)
    try:
        connection.send_bytes(b"ready")
    except OSError:
        os._exit(1)  # the parent has gone meanwhile
    _silence(2)
    while True:
        request = json.loads(connection.recv_bytes())
        if request["path"].lower().endswith(".pt") and "torch" not in sys.modules:
            importlib.import_module("torch").set_num_threads(1)
            _limit_memory(memory)
        _limit("RLIMIT_CPU", math.ceil(time.process_time() + seconds + _SPARE_SECONDS))
        number = {"number": request["number"]}
        try:
            head, frames = _answer(request, work, memory)
            text = json.dumps(number | head, allow_nan=False, default=_plain)
        except BaseException as fault:
            connection.send_bytes(json.dumps(number | _fault(fault)).encode())
            raise
        connection.send_bytes(text.encode())
        if frames:
            connection.send_bytes(frames)


def _answer(request: dict[str, Any], work: Callable[..., Any], memory: int) -> tuple[Any, bytes]:
    import cv2

    try:
        made = work(Path(request["path"]), **request["options"])
    except (ClipRefused, MemoryError, cv2.error) as fault:
        if _out_of_memory(fault):
            words = f"needs more than {memory} MiB of memory"
            return _refusal(Outcome.TOO_LARGE, words) | {"stopped": True, "last": True}, b""
        if isinstance(fault, ClipRefused):
            return _refusal(fault.outcome, fault.message), b""
        raise
    if work.__name__ != _PREPARATION:
        return {"record": made}, b""
    head = {"quality": made.quality, "review": made.review, "instance": made.instance}
    return head, made.frames.tobytes()


def _plain(value: Any) -> Any:
    """What JSON does not know, a record or a number of NumPy's, as what it does."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value.item()


def _refusal(outcome: Outcome, message: str) -> dict[str, Any]:
    return {"quality": {"outcome": outcome, "message": message}}


def _fault(fault: BaseException) -> dict[str, Any]:
    """Of an exception that nobody expected: which and where, not what it says."""
    places = [(Path(f.f_code.co_filename), line) for f, line in traceback.walk_tb(fault.__traceback__)]
    file, line = next((path.name, line) for path, line in reversed(places) if "cardio_mlflow" in path.parts)
    words = f"the program failed: {type(fault).__name__} in {file}, line {line}"
    return _refusal(Outcome.CORRUPT_FRAME, words) | {"last": True}


def _out_of_memory(fault: BaseException | None) -> bool:
    """Whether want of memory is behind a fault, also where it was taken for a fault of the file."""
    while fault is not None:
        if isinstance(fault, MemoryError) or getattr(fault, "code", None) == _NO_MEMORY:
            return True
        if isinstance(fault, RuntimeError) and "can't allocate memory" in str(fault):  # torch
            return True
        fault = fault.__context__
    return False


def _keep_little(connection: Connection) -> None:
    """Keep no more than decoding needs of what came from the parent, and live no longer than it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    for name in set(os.environ) - _KEPT:
        del os.environ[name]
    os.environ.update(_ONE_THREAD)
    sys.dont_write_bytecode = True
    _silence(0)
    _silence(1)
    if sys.platform != "win32":
        kept = sorted((2, connection.fileno(), parent.sentinel))
        for low, high in pairwise([*kept, os.sysconf("SC_OPEN_MAX")]):
            os.closerange(low + 1, high)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(0)


def _silence(descriptor: int) -> None:
    """Put the null device in the place of a standard stream."""
    with open(os.devnull, "rb+") as null:  # noqa: PTH123
        os.dup2(null.fileno(), descriptor)


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(getattr(resource, name), (soft, resource.RLIM_INFINITY if hard is None else hard))


def _limit_memory(budget: int) -> None:
    """Allow so many MiB of data over what is in use now; Linux only."""
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text("ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")
        _limit("RLIMIT_DATA", used + budget * _MIB)
