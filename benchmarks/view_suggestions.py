"""How well views are suggested: ``python -m benchmarks.view_suggestions FOLDER [--seeds 21 22 23]``.

For each seed an export without view tags (2-D cines only) is made, prepared from its DICOM files into a clip
store, and described by the demo backbone, all kept in FOLDER: about ten minutes a seed the first time, then
seconds. A person who labels all rightly takes the first 60 clips of the page, and in a second round the next
20. Once with the generator's other views, which look much like the four; once with the four views only.

Read: of all unlabelled clips how many are suggested rightly; of those taken; how many are taken. The target
is >= 97 % right of what is taken at >= 90 % taken after the first round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.pacs_export import Export, make_export
from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.batch.clip_store import ClipStore
from cardio_mlflow.data.batch.duplicates import read_contents
from cardio_mlflow.data.batch.parallel import prepared_entries
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting.page_order import page_order
from cardio_mlflow.data.sorting.suggestions import Suggestions, suggest
from cardio_mlflow.files import write_whole
from cardio_mlflow.parameters import OTHER_VIEW
from cardio_mlflow.training.clip_features import clip_features

ROUNDS = (60, 20)
"""Clips labelled by eye in each."""


@dataclass(frozen=True)
class Cohort:
    """Features (V, D), the truth and the patient of each prepared clip."""

    features: Mapping[str, NDArray[np.floating]]
    views: Mapping[str, str]
    patients: Mapping[str, str]

    def without_other(self) -> Cohort:
        """The same export without any clip of another view."""
        clips = [clip for clip in self.features if self.views[clip] != OTHER_VIEW]
        return Cohort({clip: self.features[clip] for clip in clips}, self.views, self.patients)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23])
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--jobs", type=int, default=2)
    words = parser.parse_args()
    print(f"{'seed':>4} {'export':<10} {'clips':>5} {'labelled':>8} {'all right':>9} {'taken right':>11} "
          f"{'taken':>6} {'threshold':>9}")  # fmt: skip
    for seed in words.seeds:
        home = words.folder / f"{seed}-{words.patients}"
        whole = read_cohort(home, words.patients, seed, words.backbone, words.jobs)
        for name, cohort in (("all", whole), ("four views", whole.without_other())):
            for labelled, found in rounds(cohort):
                print(f"{seed:>4} {name:<10} {len(cohort.features):>5} {labelled:>8} {scored(cohort, found)}",
                      flush=True)  # fmt: skip


def rounds(cohort: Cohort) -> Iterator[tuple[int, Suggestions | str]]:
    """Label the first clips of the page by the truth, round by round: how many so far, what is suggested."""
    labels: dict[str, str] = {}
    found: Suggestions | str | None = None
    for count in ROUNDS:
        known = found if isinstance(found, Suggestions) else None
        order = page_order(cohort.features, labels, known, cohort.patients)
        asked = [clip for clip in order if clip not in labels][:count]
        labels |= {clip: cohort.views[clip] for clip in asked}
        found = suggest(cohort.features, labels, cohort.patients)
        yield len(labels), found


def scored(cohort: Cohort, found: Suggestions | str) -> str:
    """A row of the table: shares of the clips that are not labelled."""
    if isinstance(found, str):
        return found
    right = {clip: view == cohort.views[clip] for clip, view in found.views.items()}
    taken = [right[clip] for clip in found.taken]
    share = f"{np.mean(taken):.1%}" if taken else "-"
    return f"{np.mean(list(right.values())):>9.1%} {share:>11} {found.coverage:>6.1%} {found.threshold:>9.3f}"


def read_cohort(home: Path, patients: int, seed: int, backbone: str, jobs: int) -> Cohort:
    """The prepared clips of an export, made and described now or kept from before."""
    home.mkdir(parents=True, exist_ok=True)
    store, truth = ClipStore(home / "prepared", 2.0**40), home / "clips.txt"
    if not truth.exists():
        start = time.perf_counter()
        export = make_export(home, patients, seed, view_tags=False, jobs=jobs, kinds=("cine",))
        write_whole(truth, _prepared(export, store, jobs))
        print(f"made and prepared in {time.perf_counter() - start:.0f} s")
    rows = [line.split() for line in truth.read_text("ascii").splitlines()]
    keys = {key[:16]: key for key, _, _ in rows}
    features = clip_features(list(keys), lambda clip: store.frames(keys[clip]), backbone, home / "features")
    return Cohort(features, {k[:16]: v for k, v, _ in rows}, {k[:16]: p for k, _, p in rows})


def _prepared(export: Export, store: ClipStore, jobs: int) -> str:
    """Prepare an export's files; key, view and patient of each clip that could be."""
    files = list(export.files.values())
    contents = read_contents([export.root / file.place for file in files], store.folder, jobs)
    entries = prepared_entries(contents, store, jobs, Limits())
    return "".join(
        f"{content.key} {file.view} {file.patient}\n"
        for file, content, entry in zip(files, contents, entries, strict=True)
        if entry.quality.outcome == Outcome.OK
    )


if __name__ == "__main__":
    main()
