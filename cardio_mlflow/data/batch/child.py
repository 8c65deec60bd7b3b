"""The process that decodes files nobody vouches for: `python -m cardio_mlflow.data.batch.child`.

It reads requests on its standard input, answers on its standard output, and is started, watched and
replaced by ``sandbox.py``. Before the first clip it gives up what decoding does not need: more memory
than the limit, files, core dumps, its output and error streams. It ends when its parent does.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Final

import cv2

from cardio_mlflow.data.batch.identities import instance_digest
from cardio_mlflow.data.batch.sandbox import clip_head, send_answer
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_MIB: Final = 1024**2
_FILE_BYTES: Final = _MIB  # for what codecs say about damaged frames, in a nameless temporary file
_SPARE_SECONDS: Final = 5.0  # the parent's clock comes first; this one counts when the parent has gone
_TENSOR_SUFFIX: Final = ".pt"
_NO_MEMORY: Final = -4  # OpenCV's StsNoMem

Request = dict[str, Any]


def main() -> None:
    """Serve requests until the input ends: the module that prepares, MiB of memory, seconds a clip."""
    module, memory, seconds = sys.argv[1], int(sys.argv[2]) * _MIB, float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    requests, answers = _take_over(0, "rb"), _take_over(1, "wb")
    prepare = importlib.import_module(module).prepare_clip
    cv2.setNumThreads(1)
    _limit_for_good()
    _limit_memory(memory)
    try:
        send_answer(answers, {"number": 0})
    except BrokenPipeError:
        os._exit(1)  # the parent has gone meanwhile
    sys.excepthook = _tell_and_end(answers)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    waiting: SimpleQueue[Request] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests, waiting), daemon=True).start()
    while True:
        request = waiting.get()
        if request["path"].lower().endswith(_TENSOR_SUFFIX) and "torch" not in sys.modules:
            importlib.import_module("torch").set_num_threads(1)
            _limit_memory(memory)
        _limit_processor(seconds)
        head, pixels = _answer(request, prepare)
        send_answer(answers, head | {"number": request["number"]}, pixels)


def _answer(request: Request, prepare: Callable[..., Any]) -> tuple[dict[str, Any], bytes]:
    path = Path(request["path"])
    try:
        if request["task"] == "instance":
            return {"digest": instance_digest(path)}, b""
        clip = prepare(path, check_text=request["check_text"])
        return clip_head(clip), clip.frames.tobytes()
    except (ClipRefused, MemoryError, cv2.error) as fault:
        if _out_of_memory(fault):
            return {"outcome": Outcome.TOO_LARGE, "message": "out of memory", "stopped": True}, b""
        if isinstance(fault, ClipRefused):
            return {"outcome": fault.outcome, "message": fault.message}, b""
        raise


def _out_of_memory(fault: BaseException | None) -> bool:
    """Whether want of memory is behind a fault, also where it was taken for a fault of the file."""
    while fault is not None:
        if isinstance(fault, MemoryError) or getattr(fault, "code", None) == _NO_MEMORY:
            return True
        if isinstance(fault, RuntimeError) and "can't allocate memory" in str(fault):  # torch
            return True
        fault = fault.__context__
    return False


def _take_over(descriptor: int, mode: str) -> IO[Any]:
    """Keep a standard stream for this module alone; libraries get the null device in its place."""
    own = os.dup(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    return os.fdopen(own, mode)


def _listen(requests: IO[bytes], waiting: SimpleQueue[Request]) -> None:
    """Hand requests on; when the parent has closed the pipe, or has gone, end at once."""
    for line in requests:
        waiting.put(json.loads(line))
    os._exit(0)


def _tell_and_end(
    answers: IO[bytes],
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """What to do with an exception that nobody expected: say which and where, not what it says."""

    def tell(kind: type[BaseException], _error: BaseException, trace: TracebackType | None) -> None:
        file, line = "unknown", 0
        while trace is not None:
            path = Path(trace.tb_frame.f_code.co_filename)
            if "cardio_mlflow" in path.parts:
                file, line = path.name, trace.tb_lineno
            trace = trace.tb_next
        send_answer(answers, {"fault": kind.__name__, "file": file, "line": line})
        os._exit(1)

    return tell


def _limit_for_good() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))


def _limit_memory(budget: int) -> None:
    """Allow this many bytes of data over what is in use now; Linux only."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
        used = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + budget, resource.RLIM_INFINITY))


def _limit_processor(seconds: float) -> None:
    """Allow a clip its seconds of processor time, so that a process whose parent was killed ends too."""
    if sys.platform != "win32":
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        end = math.ceil(usage.ru_utime + usage.ru_stime + seconds + _SPARE_SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
