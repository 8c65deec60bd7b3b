"""How much of what a model should not be asked about is flagged, and how much of what it should.

    python -m benchmarks.unfamiliar_input FOLDER [--seeds 201 202 203] [--patients 48]

Trains the five folds of the demo preset on Cohort I, as `mlflow run .` does, or takes them from FOLDER, where
they are kept. For each seed a Cohort II of other synthetic patients is judged as it is, and with one clip of
each patient in turn put in place of another: noise, black, frozen, of a linear probe, of another organ,
turned, and of another view, every view in every slot. What counts is whether the patient is flagged, and
whether the words name the slot.

Asked for: of noise, black, frozen, linear probe and wrong view >= 95 % flagged in each cohort; of ordinary
patients <= 10 %. Exit status 1 when that is missed. A few minutes a seed, once clips are prepared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.controls import train
from benchmarks.unfamiliar_clips import KINDS
from cardio_mlflow.data.dataset import ClipTensor, load_clips
from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.training_set import load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.bundle import Bundle, load_bundle, save_bundle
from cardio_mlflow.training.ensemble import Ensemble, Evaluated, evaluate
from cardio_mlflow.training.familiarity import Familiarity
from cardio_mlflow.training.fold_reference import fit_reference

ASKED = ("noise", "black", "frozen", "linear probe", "wrong view")
LEAST, MOST = 0.95, 0.10
Reasons = list[tuple[str, ...]]


@dataclass(frozen=True)
class Judged:
    """Patients as they are, with what the networks see of them."""

    ensemble: Ensemble
    familiarity: Familiarity
    clips: ClipTensor
    seen: Evaluated

    def reasons(self) -> Reasons:
        """As they are."""
        return self.familiarity.judge(self.seen.frames, self.seen.features, self.clips, self.seen.present)

    @torch.no_grad()
    def with_slot(self, slot: int, other: Judged, taken: int) -> Reasons:
        """With the clips of a slot replaced by those that others, or they themselves, have in some slot.

        Only that slot is judged, and the patient as a whole: flags of the other slots would be by chance.
        """
        clips = self.clips.clips.clone()
        clips[:, slot] = other.clips.clips[:, taken]
        frames, features = {}, {}
        for name, bundle in self.ensemble.bundles.items():
            frames[name] = self.seen.frames[name].clone()
            frames[name][:, slot] = other.seen.frames[name][:, taken]
            fused = bundle.network.from_frames(frames[name], self.seen.present, self.clips.phased)
            features[name] = fused.features.double().numpy()
        judged_views = torch.zeros_like(self.seen.present)
        judged_views[:, slot] = self.seen.present[:, slot]
        return self.familiarity.judge(frames, features, replace(self.clips, clips=clips), judged_views)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the trained folds are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[201, 202, 203])
    parser.add_argument("--patients", type=int, default=48)
    words = parser.parse_args()
    ensemble, familiarity = trained(words.folder)
    print("thresholds:", {name: round(value, 2) for name, value in familiarity.thresholds.items()})
    rows = [row for seed in words.seeds for row in judged(ensemble, familiarity, seed, words.patients)]
    sys.exit(0 if report(pd.DataFrame(rows)) else 1)


def trained(folder: Path) -> tuple[Ensemble, Familiarity]:
    """The demo's networks, and what is familiar to them."""
    settings = load_settings({})
    paths = {fold: folder / f"fold-{fold}" for fold in range(1, settings.num_folds + 1)}
    if not all(path.exists() for path in paths.values()):
        data = load_training_set(settings, load_inputs(settings))
        for fold, path in paths.items():
            bundle = train(settings, data, fold)
            reference = fit_reference(bundle.network, data.fold(fold, settings)[0], settings)
            save_bundle(replace(bundle, reference=reference), path)
    bundles: dict[str, Bundle] = {path.name: load_bundle(path) for path in paths.values()}
    familiarity = Familiarity.of({name: bundle.reference for name, bundle in bundles.items()})
    assert familiarity is not None
    return Ensemble(bundles), familiarity


def judged(
    ensemble: Ensemble, familiarity: Familiarity, seed: int, count: int
) -> Iterator[dict[str, object]]:
    """A row for each kind of input: how many were judged, flagged, and flagged with the slot named."""
    clips = cohort2(seed, count, ensemble.settings)
    ordinary = seen(ensemble, familiarity, clips)
    found = ordinary.reasons()
    yield row(seed, "ordinary", "patients", found, np.ones(len(clips), bool), "")
    for one, other in permutations(range(len(VIEWS)), 2):
        taken = clips.present[:, [one, other]].all(1).numpy()
        reasons = ordinary.with_slot(other, ordinary, one)
        yield row(
            seed, "wrong view", f"{VIEWS[one].name} as {VIEWS[other].name}", reasons, taken, VIEWS[other].name
        )
    rng = np.random.default_rng(seed)
    for kind, ways in KINDS.items():
        for way, make in ways.items():
            strange = seen(ensemble, familiarity, replaced(clips, make, rng))
            for slot, view in enumerate(VIEWS):
                reasons = ordinary.with_slot(slot, strange, slot)
                yield row(seed, kind, way, reasons, clips.present[:, slot].numpy(), view.name)


def cohort2(seed: int, count: int, settings: Settings) -> ClipTensor:
    """Prepared clips of synthetic patients of another seed."""
    given = {"synthetic_seed": seed, "synthetic_patients": count + 2, "cohort1_size": 2, "num_folds": 2}
    inputs = load_inputs(load_settings({name: str(value) for name, value in given.items()}))
    return load_clips(inputs.prepared.clips_of, inputs.patients("II"), settings.training_frames)


def seen(ensemble: Ensemble, familiarity: Familiarity, clips: ClipTensor) -> Judged:
    return Judged(ensemble, familiarity, clips, evaluate(ensemble, clips))


def replaced(clips: ClipTensor, make: Callable[..., np.ndarray], rng: np.random.Generator) -> ClipTensor:
    """Every clip that is there made into another."""
    pixels = clips.clips.clone()
    for patient, view in np.argwhere(clips.present.numpy()):
        pixels[patient, view] = torch.from_numpy(make(pixels[patient, view].numpy(), rng))
    return replace(clips, clips=pixels)


def row(seed: int, kind: str, way: str, reasons: Reasons, taken: np.ndarray, slot: str) -> dict[str, object]:
    told = [texts for texts, is_taken in zip(reasons, taken, strict=True) if is_taken]
    start = f"{slot}: " if slot else ""
    of_slot = [[text.removeprefix(start) for text in texts if text.startswith(start)] for texts in told]
    return {
        "seed": seed, "kind": kind, "way": way, "n": len(told), "flagged": sum(map(bool, told)),
        "named": sum(map(bool, of_slot)), "words": [text for texts in of_slot for text in texts],
    }  # fmt: skip


def report(table: pd.DataFrame) -> bool:
    """Print shares by seed and kind, and by way; whether what is asked for holds."""
    by_seed, by_way = shares(table, ["seed", "kind"]), shares(table, ["kind", "way"])
    print(by_seed.round(3).to_string(), by_way.round(3).to_string(), sep="\n\n")
    for kind, words in table.groupby("kind", sort=False)["words"]:
        counts = pd.Series([w for found in words for w in found], dtype=str).value_counts()
        print(f"{kind}: " + "; ".join(f"{text} {count}" for text, count in counts.items()))
    flagged = by_seed["flagged"].reset_index()
    asked, ordinary = flagged["kind"].isin(ASKED), flagged["kind"] == "ordinary"
    missed = flagged[(asked & (flagged["flagged"] < LEAST)) | (ordinary & (flagged["flagged"] > MOST))]
    print("held" if missed.empty else f"MISSED:\n{missed.to_string(index=False)}")
    return missed.empty


def shares(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Of the patients of each group: how many, and which shares are flagged and have the slot named."""
    sums = table.groupby(by, sort=False)[["n", "flagged", "named"]].sum()
    return sums.assign(flagged=sums["flagged"] / sums["n"], named=sums["named"] / sums["n"])


if __name__ == "__main__":
    main()
