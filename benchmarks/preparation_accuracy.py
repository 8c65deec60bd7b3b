"""How exact the preparation of clips is, on synthetic clips whose truth is known.

    python -m benchmarks.preparation_accuracy [--clips N] [--patients N] [--kinds a,b] [--jobs N]

Takes the standard cohort (six screen layouts, --patients of them, 4 views each) and --clips of every kind
of hard clip (`benchmarks.challenges`), and prints each number beside its target, the kinds that
miss one, and what became of the clips that must be refused. `--kinds cohort` takes the cohort alone.
Exit status 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from benchmarks.challenges import KINDS, plan_challenge, write_challenge
from benchmarks.preparation_measures import Measured, measure
from benchmarks.preparation_report import report
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.clip import clip_truth, has_view, patient_rows, plan_clip, write_clip

SEED = 7


def main() -> None:
    arguments = parse(sys.argv[1:])
    kinds = arguments.kinds.split(",") if arguments.kinds else ["cohort", *KINDS]
    if unknown := set(kinds) - {"cohort", *KINDS}:
        sys.exit(f"There are no kinds called {', '.join(sorted(unknown))}.")
    with tempfile.TemporaryDirectory() as folder:
        calls = [delayed(challenge_clip)(Path(folder), kind, seed)
                 for kind in kinds if kind != "cohort" for seed in range(1, arguments.clips + 1)]  # fmt: skip
        if "cohort" in kinds:
            calls += [delayed(cohort_clip)(Path(folder), patient, view)
                      for patient in range(arguments.patients) for view in VIEW_CODES
                      if has_view(SEED, patient, view)]  # fmt: skip
        with Parallel(n_jobs=arguments.jobs, return_as="generator", batch_size=1) as workers:
            clips = list(tqdm(workers(calls), total=len(calls), unit="clip"))
    missed = report(clips)
    sys.exit(1 if missed else 0)


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=2, help="clips of each kind")
    parser.add_argument("--patients", type=int, default=12, help="patients of the cohort")
    parser.add_argument("--kinds", default="", help="kinds, separated by commas; 'cohort' is one")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args(words)


def challenge_clip(folder: Path, kind: str, seed: int) -> Measured:
    """Write, measure and remove one hard clip."""
    path = folder / f"{kind}-{seed}.dcm"
    truth = write_challenge(path, kind, seed)
    strip = plan_challenge(kind, seed).strip
    measured = measure(path, kind, truth, strip.style if strip else None)
    path.unlink()
    return measured


def cohort_clip(folder: Path, patient: int, view: str) -> Measured:
    """Write, measure and remove one clip of the standard cohort."""
    path = folder / f"P{patient + 1:04d}-{view}.dcm"
    hemodynamics, anatomy = patient_rows(SEED, patient + 1)
    row = hemodynamics.iloc[patient]
    write_clip(path, SEED, patient, view, row, anatomy.iloc[patient])
    style = plan_clip(SEED, patient, view, row).layout.trace
    measured = measure(path, "cohort", clip_truth(SEED, patient, view), None if style == "none" else style)
    path.unlink()
    return measured


if __name__ == "__main__":
    main()
