"""Prepare thousands of damaged clips: ``python -m benchmarks.fuzz_preparation --files 4000 --seed 0``.

Small clips of every kind (each transfer syntax, gray and colour, 16 bits, palettes, fragments and offset
tables, tagged and drawn ECGs, videos, tensors) are damaged (bits, runs, cuts, splices, elements, lengths,
numbers, frames, pictures) and go through the preparation of a clip, which decodes in a child process.

Printed are the outcomes by kind of damage; children that died or were stopped, which become outcomes; and
tensors that came from damaged files, told apart by a second reader (pydicom, FFmpeg behind OpenCV, torch):
the same tensor as without the damage, another one from a file that is still valid (a flipped bit of
uncompressed pixels cannot be noticed), or one from a file that the second reader finds invalid.

It ends with status 1 when anything but an outcome came out, when the program itself failed in the child or
a limit stopped it, when a refused clip left a tensor, or when a cut file gave one that its undamaged file
does not give. 4,000 files take about 12 minutes on one core; expect status 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import pixel_array
from safetensors.numpy import load_file
from tqdm import tqdm

from benchmarks.mutations import MUTATIONS, cut
from benchmarks.sound_clips import sound_clips
from cardio_mlflow.data.batch.clip_store import ClipStore
from cardio_mlflow.data.batch.parallel import prepare_entry
from cardio_mlflow.data.batch.sandbox import Limits, Sandbox
from cardio_mlflow.data.outcomes import Outcome

LIMITS = Limits(seconds=30.0, memory=512)
FAILED = "the program failed"
STOPPED = ("the decoder died", "took longer", "needs more than", "the decoder sent")
REFUSED = "tensor from a refused clip"
CUT = "tensor from a cut file"
BAD = (FAILED, "unexpected", REFUSED, CUT, "took longer", "the decoder sent")
"""Notes that make the status 1; a codec in C that dies on a file, or asks for too much, is contained."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Judged:
    """What became of one file.

    Attributes:
        outcome: its code.
        frames: the tensor, or None.
        note: what is to be said about it; empty for a plain refusal.
    """

    outcome: str
    frames: Frames | None = None
    note: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that gave something unexpected")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Sandbox(LIMITS) as sandbox:
        return _fuzz(Path(folder), sandbox, options.files, options.seed, options.keep)


def _fuzz(folder: Path, sandbox: Sandbox, files: int, seed: int, keep: Path | None) -> int:
    sound, reader = sound_clips(), SecondReader()
    undamaged = {name: _prepared(folder, sandbox, name, content).frames for name, content in sound.items()}
    outcomes: Counter[tuple[str, str]] = Counter()
    notes: Counter[str] = Counter()
    start, names = time.perf_counter(), sorted(sound)
    for number in tqdm(range(files), mininterval=5):
        rng = np.random.default_rng([seed, number])
        name, mutation = names[number % len(names)], MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        damaged = mutation(sound[name], rng)
        if damaged == sound[name]:
            continue
        judged = _prepared(folder, sandbox, name, damaged)
        note = judged.note or _note_on(reader, folder / name, judged.frames, undamaged[name], mutation is cut)
        outcomes[mutation.__name__, judged.outcome] += 1
        notes[note] += bool(note)
        if keep and note and not note.startswith(("tensor unchanged", "tensor from a valid")):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{seed}-{number}-{mutation.__name__}-{name}").write_bytes(damaged)
    _print(outcomes, notes, len(names), time.perf_counter() - start)
    return int(any(note.startswith(BAD) and count for note, count in notes.items()))


def _prepared(folder: Path, sandbox: Sandbox, name: str, content: bytes) -> Judged:
    """Prepare one file, keep it, and look at what was kept."""
    path, store = folder / name, ClipStore(folder / "prepared", 2**40)
    path.write_bytes(content)
    try:
        entry, frames = prepare_entry(path, sandbox)
        store.write("key", entry, frames)
    except Exception as error:  # noqa: BLE001 - what this benchmark looks for
        return Judged("unexpected", None, f"unexpected {type(error).__name__}")
    outcome, message, kept = entry.quality.outcome, entry.quality.message, load_file(store.path("key"))
    if bool(kept) != (outcome == Outcome.OK):
        return Judged(outcome, None, REFUSED)
    if kept:
        return Judged(outcome, kept["frames"])
    return Judged(outcome, None, message if message.startswith((FAILED, *STOPPED)) else "")


def _note_on(
    reader: SecondReader, path: Path, frames: Frames | None, undamaged: Frames | None, is_cut: bool
) -> str:
    """The note on a tensor that came from a damaged file."""
    if frames is None:
        return ""
    if undamaged is not None and np.array_equal(frames, undamaged):
        return "tensor unchanged"
    if is_cut:
        return CUT
    return f"tensor from {'a valid' if reader.reads(path) else 'an invalid'} file"


class SecondReader:
    """Reads files in a process of its own, for some of them end it."""

    def __init__(self) -> None:
        self._process: ProcessPoolExecutor | None = None

    def reads(self, path: Path) -> bool:
        """Whether pydicom reads every frame; videos and tensors have one reader only, which took them."""
        if path.suffix != ".dcm":
            return True
        self._process = self._process or ProcessPoolExecutor(1, get_context("spawn"))
        try:
            return self._process.submit(count_frames, path).result() > 1
        except BrokenProcessPool:
            self._process = None
            return False


def count_frames(path: Path) -> int:
    """Frames of a file that pydicom decodes; 0 when it fails at one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return len(pixel_array(path))
    except BaseException:  # noqa: BLE001 - codecs raise what is no Exception, too
        return 0


def _print(outcomes: Counter[tuple[str, str]], notes: Counter[str], kinds: int, seconds: float) -> None:
    damages, codes = sorted({kind for kind, _ in outcomes}), sorted({code for _, code in outcomes})
    print(f"{outcomes.total()} damaged files of {kinds} kinds in {seconds:.0f} s")
    print(f"{'':<18}" + "".join(f"{code[:14]:>15}" for code in codes) + f"{'all':>7}")
    for damage in damages:
        counts = [outcomes[damage, code] for code in codes]
        print(f"{damage:<18}" + "".join(f"{count:>15}" for count in counts) + f"{sum(counts):>7}")
    counts = [sum(outcomes[damage, code] for damage in damages) for code in codes]
    print(f"{'all':<18}" + "".join(f"{count:>15}" for count in counts) + f"{sum(counts):>7}")
    for note, count in sorted(notes.items()):
        if note:
            print(f"{note}: {count}")


if __name__ == "__main__":
    sys.exit(main())
