"""What is to be said of a patient's clips beside the numbers: faults that forbid trust, and milder notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.parameters import FACTS, VIEW_CODES, VIEWS, view_name
from cardio_mlflow.settings import Settings

NO_VIEW: Final = "no view to predict from"


def faults(clips: ClipTensor, seen: list[str]) -> list[str]:
    """What needs no model to see of the only patient's clips: one that is black, one that stands twice.

    Args:
        clips: of one patient.
        seen: the codes of the views that are there and used.
    """
    shown = {view_name(code): clips.clips[0, VIEW_CODES.index(code)] for code in seen}
    black = [f"{name}: is black" for name, clip in shown.items() if not clip.any()]
    same = [
        f"{one} and {other}: the same clip"
        for one, other in combinations(shown, 2)
        if shown[one].any() and torch.equal(shown[one], shown[other])
    ]
    return [*black, *same] if seen else [NO_VIEW]


def notes(
    clips: ClipTensor, facts: NDArray[np.float64], settings: Settings, refused: Mapping[str, Outcome],
    unjudged: Sequence[str],
) -> str:  # fmt: skip
    """What a reader should know of the only patient's input, separated by semicolons.

    Args:
        clips: of one patient.
        facts: (1, 3), see `FACTS`.
        settings: of the model: what it does not use is not missed.
        refused: by view code, why a clip could not be prepared.
        unjudged: names of views of which the model cannot say whether they are like those of training.
    """
    unsure = [f"familiarity not judged: {', '.join(unjudged)}"] if unjudged else []
    return "; ".join([*_views(clips, settings, refused), *_unknown(clips, facts, settings), *unsure])


def _views(clips: ClipTensor, settings: Settings, refused: Mapping[str, Outcome]) -> Iterator[str]:
    for view, present in zip(VIEWS, clips.present[0].tolist(), strict=True):
        if outcome := refused.get(view.code):
            yield f"{view.name}: refused, {outcome} ({outcome.words})"
        elif not present and view.code in settings.views:
            yield f"{view.name}: missing"
        elif present and view.code not in settings.views:
            yield f"{view.name}: not used by this model"


def _unknown(clips: ClipTensor, facts: NDArray[np.float64], settings: Settings) -> Iterator[str]:
    used = [
        place for place, code in enumerate(VIEW_CODES) if clips.present[0, place] and code in settings.views
    ]
    unverified = [VIEWS[place].name for place in used if not clips.phased[0, place]]
    unscaled = [VIEWS[place].name for place in used if clips.placement[0, place, 0].isnan()]
    if settings.motion and unverified:
        yield f"phase not verified: {', '.join(unverified)}"
    if settings.scale == "physical" and unscaled:
        yield f"scale not known: {', '.join(unscaled)}"
    absent = [name for name, value in zip(FACTS, facts[0].tolist(), strict=True) if np.isnan(value)]
    if settings.identities and absent:
        yield f"not known: {', '.join(absent)}"
