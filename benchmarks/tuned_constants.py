"""What holds each tuned number of the preparation: the hard clips that miss a target when it is changed.

    python -m benchmarks.tuned_constants fit [--kinds dim_edge,steered] [--only _CLIFF] [--by 0.2] [--jobs N]

Takes the numbers of a module of data/picture or data/cycle one by one, makes each a fifth smaller and larger,
and prepares one clip of each kind of `benchmarks.challenges` (or --clips of each). Printed are the kinds that
then miss what they meet without the change: outcome, gating, sector (IoU 0.95), overlays (2 % left, 0.2 %
altered), beats.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from joblib import Parallel, delayed

from benchmarks.challenges import KINDS, plan_challenge, write_challenge
from benchmarks.preparation_measures import Measured, measure
from cardio_mlflow.synthetic.clip import ClipTruth

PACKAGES = ("cardio_mlflow.data.picture", "cardio_mlflow.data.cycle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("module", help="such as fit, overlay_lines or drawn_ecg")
    parser.add_argument("--kinds", default=",".join(KINDS), help="separated by commas")
    parser.add_argument("--only", default="", help="one constant")
    parser.add_argument("--by", type=float, default=0.2, help="relative change")
    parser.add_argument("--clips", type=int, default=1, help="of each kind")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    clips = [(kind, seed) for kind in options.kinds.split(",") for seed in range(1, options.clips + 1)]
    names = [name for name, _ in numbers(find_module(options.module)) if options.only in ("", name)]
    if not names:
        sys.exit(f"{options.module} has no number called {options.only}.")
    with tempfile.TemporaryDirectory() as folder, Parallel(n_jobs=options.jobs) as workers:
        plain = dict(zip(clips, workers(delayed(missed)(Path(folder), *clip) for clip in clips), strict=True))
        for name in names:
            for factor in (1 - options.by, 1 + options.by):
                changed = (options.module, name, factor)
                found = workers(delayed(missed)(Path(folder), *clip, changed) for clip in clips)
                pairs = zip(clips, found, strict=True)
                new = [(kind, sorted(words - plain[kind, seed])) for (kind, seed), words in pairs]
                lost = [f"{kind} ({', '.join(words)})" for kind, words in new if words]
                print(f"{name:<28} × {factor:.2f}  {'; '.join(lost) or '-'}", flush=True)


def find_module(name: str) -> ModuleType:
    """The module of that name in data/picture or data/cycle."""
    for package in PACKAGES:
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
    sys.exit(f"There is no module {name} in data/picture and data/cycle.")


def numbers(module: ModuleType) -> Iterator[tuple[str, float]]:
    """Names and values of a module's own numbers."""
    for name, value in vars(module).items():
        if name.isupper() and isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def missed(folder: Path, kind: str, seed: int, changed: tuple[str, str, float] | None = None) -> set[str]:
    """What a clip misses, with a number of a module changed by a factor, an integer by at least one."""
    path, truth, style = _clip(folder, kind, seed)
    if changed is None:
        return _words(measure(path, kind, truth, style))
    module, name, factor = find_module(changed[0]), *changed[1:]
    value = getattr(module, name)
    other = round(value * factor) if isinstance(value, int) else value * factor
    setattr(module, name, value + (1 if factor > 1 else -1) if other == value else other)
    try:
        return _words(measure(path, kind, truth, style))
    finally:
        setattr(module, name, value)


@cache
def _clip(folder: Path, kind: str, seed: int) -> tuple[Path, ClipTruth, str | None]:
    """A clip, its truth and the style of its drawn ECG; written once per process."""
    path, strip = folder / f"{kind}-{seed}-{os.getpid()}.dcm", plan_challenge(kind, seed).strip
    return path, write_challenge(path, kind, seed), strip.style if strip else None


def _words(found: Measured) -> set[str]:
    beats = [f"{rung} beats" for rung, one in found.beats.items() if one.false or one.found < one.beats]
    checks = {
        "sector": found.iou is not None and found.iou < 0.95, "left": (found.residue or 0.0) > 0.02,
        "altered": (found.altered or 0.0) > 0.002, "unread": found.unread, "imagined": found.imagined,
    }  # fmt: skip
    return {found.outcome, found.gating, *beats, *(name for name, wrong in checks.items() if wrong)}


if __name__ == "__main__":
    main()
