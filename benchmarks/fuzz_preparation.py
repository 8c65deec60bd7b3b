"""Prepare thousands of damaged DICOM files: ``python -m benchmarks.fuzz_preparation --files 3000 --seed 0``.

Small clips in every transfer syntax are damaged (bits, runs, cuts, splices, lengths, image tags, frames) and
go through the whole preparation in its child process. Printed are the outcomes by kind of damage; children
that died or were stopped, which become outcomes; and tensors that came from damaged files, told apart by
pydicom's own reading: the same tensor as without the damage, another one from a file that is still valid
(a flipped bit of uncompressed pixels cannot be noticed), or one from a file that pydicom finds invalid.

It ends with status 1 when anything but an outcome came out, when the program itself failed in the child, or
when a cut file gave a tensor. 3,000 files take about 8 minutes on one core; expect status 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels
from tqdm import tqdm

from benchmarks.mutations import MUTATIONS, cut
from cardio_mlflow.data.decoding.header_values import PARSING_FAULTS
from cardio_mlflow.data.outcomes import ClipRefused
from cardio_mlflow.data.sandbox.sandbox import Limits, Sandbox
from tests.data.small_clips import SYNTAXES, fan, write_clip

LIMITS = Limits(seconds=30.0, memory=512)
FAILED = "the program failed"
STOPPED = ("the decoder died", "took longer", "needs more than", "the decoder sent")

Frames = NDArray[np.uint8]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that gave something unexpected")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Sandbox(LIMITS) as sandbox:
        return _fuzz(Path(folder), sandbox, options.files, options.seed, options.keep)


def _fuzz(folder: Path, sandbox: Sandbox, files: int, seed: int, keep: Path | None) -> int:
    sound = _sound_clips(folder)
    undamaged = {name: sandbox.prepare(folder / name).frames for name in sound}
    outcomes: Counter[tuple[str, str]] = Counter()
    notes: Counter[str] = Counter()
    start = time.perf_counter()
    for number in tqdm(range(files), mininterval=5):
        rng = np.random.default_rng([seed, number])
        name, mutation = sorted(sound)[number % len(sound)], MUTATIONS[rng.integers(len(MUTATIONS))]
        path = folder / "damaged.dcm"
        path.write_bytes(mutation(sound[name], rng))
        if path.read_bytes() == sound[name]:
            continue
        outcome, note = _judged(sandbox, path, undamaged[name])
        note = f"{note} (cut)" if mutation is cut and note.startswith("tensor") else note
        outcomes[mutation.__name__, outcome] += 1
        notes[note] += bool(note)
        if keep and note and not note.startswith(("tensor unchanged", "tensor from a valid")):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{seed}-{number}-{mutation.__name__}-{name}").write_bytes(path.read_bytes())
    _print(outcomes, notes, time.perf_counter() - start)
    return int(any(FAILED in note or "unexpected" in note or "(cut)" in note for note in notes))


def _sound_clips(folder: Path) -> dict[str, bytes]:
    """A gray and a colour clip in every syntax."""
    gray = fan(24, 120, 160)
    found = {}
    for syntax in SYNTAXES:
        for frames in (gray, np.stack([gray, gray, gray // 2 + gray // 4], axis=-1)):
            name = f"{syntax[14:]}-{frames.ndim - 2}.dcm"
            found[name] = write_clip(folder / name, frames, syntax).read_bytes()
    return found


def _judged(sandbox: Sandbox, path: Path, undamaged: Frames) -> tuple[str, str]:
    """The outcome of one file, and what is to be said about it."""
    try:
        frames = sandbox.prepare(path).frames
    except ClipRefused as refusal:
        noted = next((f"child: {words}" for words in (FAILED, *STOPPED) if words in refusal.message), "")
        return str(refusal.outcome), f"{noted}{refusal.message[len(FAILED) :]}" if FAILED in noted else noted
    except Exception as error:  # noqa: BLE001 - what this benchmark looks for
        return "unexpected", f"unexpected {type(error).__name__}"
    if np.array_equal(frames, undamaged):
        return "OK", "tensor unchanged"
    return "OK", "tensor from a valid file" if _is_valid(path) else "tensor from an invalid file"


def _is_valid(path: Path) -> bool:
    """Whether pydicom reads every frame."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sum(1 for _ in iter_pixels(path)) > 1
    except PARSING_FAULTS:
        return False


def _print(outcomes: Counter[tuple[str, str]], notes: Counter[str], seconds: float) -> None:
    kinds, codes = sorted({kind for kind, _ in outcomes}), sorted({code for _, code in outcomes})
    print(f"{outcomes.total()} damaged files in {seconds:.0f} s")
    print(f"{'outcome':<28}" + "".join(f"{kind:>18}" for kind in kinds) + f"{'all':>8}")
    for code in codes:
        counts = [outcomes[kind, code] for kind in kinds]
        print(f"{code:<28}" + "".join(f"{count:>18}" for count in counts) + f"{sum(counts):>8}")
    for note, count in sorted(notes.items()):
        if note:
            print(f"{note}: {count}")


if __name__ == "__main__":
    sys.exit(main())
