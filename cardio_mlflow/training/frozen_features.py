"""The output of the frozen blocks for patients' clips, computed once and kept memory-mapped.

The frozen part of the backbone is never changed by training, so its output for a frame is the same
in every epoch, fold, variant and cohort. It is kept for each patient under the content of the clips, so that
a new patient or another id leaves the others' valid, and in the compute dtype: pooled frame features where no
block is trained, tokens otherwise. The tokens have that dtype between any two blocks, so it makes no
difference where a pass starts. Where there is no room, they are computed anew for each batch, and a message
says so.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cardio_mlflow.data.dataset import Clips
from cardio_mlflow.files import is_disk_full
from cardio_mlflow.model.frame_encoder import FrameEncoder, resize_frames
from cardio_mlflow.model.network import unit_range
from cardio_mlflow.training.activation_store import ActivationSet, ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.backbone_pass import Activations, distinct_frames, join, run_blocks
from cardio_mlflow.training.devices import backbone_autocast, kernels

VERSION: Final = 2
"""Raised when the same weights and clips would give other activations; part of the store's keys."""
HEADER: Final = 256
"""Bytes of a row's file beside its tensors, at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """What activations are made from, and how.

    Attributes:
        encoder: on its device, in evaluation mode; it must not be trained.
        clips: prepared clips of N patients.
        augmentation: how copies differ from the original; None: there are none.
        copies: augmented copies beside the original.
        dtype: compute dtype.
    """

    encoder: FrameEncoder
    clips: Clips
    augmentation: Augmentation | None
    copies: int
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.encoder.parameters()).device

    def digest(self) -> str:
        """Changes when everybody's activations would: weights, frames, augmentation, dtype or kernels."""
        digest = hashlib.blake2b(digest_size=10)
        self.encoder.hash_weights(digest)
        config = self.encoder.vit.config.to_json_string()
        known = (VERSION, str(self.dtype), kernels(self.device), config, self.clips.frames)
        moves = self.augmentation if self.copies else None
        changes = None if moves is None else [getattr(moves, field.name) for field in fields(moves)]
        digest.update(repr((*known, changes)).encode())
        return digest.hexdigest()

    @torch.no_grad()
    def compute(
        self, patient: int, copy: int, depths: Sequence[int], start: tuple[int, Activations] | None = None
    ) -> dict[int, Activations]:
        """Activations of one copy of one patient at each depth, from one pass through the encoder.

        Args:
            patient: position in the cohort.
            copy: 0 is the original.
            depths: numbers of blocks.
            start: activations from which the pass starts, with their depth; None: the pixels.
        """
        reached, found = start or (0, self._embedded(patient, copy))
        tokens, results = found.rows, {}
        with backbone_autocast(self.dtype, self.device):
            for depth in sorted(depths):
                pooled = depth == self.encoder.depth
                tokens = run_blocks(self.encoder, tokens, reached, depth, pool=pooled)
                results[depth] = Activations(tokens.to(self.dtype), found.frame_of)
                reached = depth
        return results

    def shape(self, depth: int) -> tuple[int, ...]:
        """Shape of a frame's activations: (D,) at full depth, (L, D) below."""
        tokens = () if depth == self.encoder.depth else (self.encoder.token_count,)
        return (*tokens, self.encoder.width)

    def _embedded(self, patient: int, copy: int) -> Activations:
        present = self.clips.present[patient].to(self.device)
        images = self.images(patient, copy, present)
        kept, frame_of = distinct_frames(images, present)
        with backbone_autocast(self.dtype, self.device):
            return Activations(self.encoder.tokens(images[kept], 0), frame_of)

    def images(self, patient: int, copy: int, present: Tensor) -> Tensor:
        """The frames of a patient's present views at the backbone's size, augmented: (F, H, W), 0-1."""
        clips = self.clips.clips_of(patient).to(self.device)[present]
        views, frames = clips.shape[:2]
        images = resize_frames(unit_range(clips.flatten(0, 1)), self.encoder.image_size)
        if not copy or self.augmentation is None:
            return images
        whole = images.new_zeros(len(present), frames, *images.shape[-2:])
        whole[present] = images.view(views, frames, *images.shape[1:])
        copied = self.augmentation.copy_of(whole, self.clips.content_of(patient), copy)
        return copied[present].flatten(0, 1)


class FrozenFeatures:
    """Activations of a frozen encoder for every patient of a cohort and every augmented copy.

    The activations at depth d are (L, D) tokens of each different frame after the first d blocks; at the
    encoder's full depth they are its (D,) frame feature.
    """

    def __init__(self, sources: Sources, store: ActivationStore | None = None):
        """Take what activations are made from, and where they are kept; None keeps nothing."""
        self.sources = sources
        self.encoder, self.clips, self.copies = sources.encoder, sources.clips, sources.copies
        self.device = sources.device
        self._store = store or ActivationStore(Path(), 0)
        self._kept: dict[int, ActivationSet] = {}
        self._reported: set[int] = set()

    @cached_property
    def _digest(self) -> str:
        return self.sources.digest()

    @cached_property
    def _contents(self) -> list[str]:
        """N names of what patients' activations are made from; neither other patients nor ids are in them."""
        return [self.clips.content_of(patient) for patient in range(len(self.clips.patient_ids))]

    def prepare(self, depth: int, later: Sequence[int] = ()) -> None:
        """Have the activations at a depth stored, if there is room, and release what is not needed.

        The pass that computes them also stores those of the depths that are needed later, the soonest
        first, as many as there is room for. It starts from the nearest stored activations.

        Args:
            depth: number of frozen blocks.
            later: the depths that will be asked for next.
        """
        wanted = list(dict.fromkeys([depth, *later]))
        self._release_all_but(wanted)
        if depth in self._kept and self._kept[depth].is_complete():
            return  # later ones wait for the next pass, which can then store several
        if self._filled(wanted) or self._filled([depth]):
            return
        log.warning("The disk is full: frozen features are computed anew for each batch from here on.")
        self._store.budget = 0

    def is_kept(self, depth: int) -> bool:
        """Whether the activations at a depth come from the store."""
        return depth in self._kept

    def batch(self, patients: Sequence[int], copies: Sequence[int], depth: int) -> Activations:
        """Activations of a batch of B patients, in host memory where they are kept.

        Args:
            patients: B positions in the cohort.
            copies: the copy to take of each.
            depth: number of frozen blocks.

        Returns:
            (U, L, D) tokens or, at full depth, (U, D) frame features, with ``frame_of`` (B, V, T).
        """
        if not patients:
            views, frames = self.clips.present.shape[1], self.clips.frames
            shape = self.sources.shape(depth)
            rows = torch.empty(0, *shape, dtype=self.sources.dtype, device=self.device)
            return Activations(rows, torch.empty(0, views, frames, dtype=torch.int64, device=self.device))
        pairs = list(zip(patients, copies, strict=True))
        if depth in self._kept:
            return join([self._kept[depth].read(self._row(p, c)) for p, c in pairs])
        return join([self.sources.compute(p, c, [depth])[depth] for p, c in pairs])

    def close(self) -> None:
        """Release everything, so that it may make room for others."""
        self._release_all_but([])

    def _filled(self, depths: Sequence[int]) -> bool:
        """Store the activations at the first depth and, as far as there is room, at the others.

        Returns:
            False where the disk turned out to be full; what was half done is removed.
        """
        try:
            for depth in depths:
                if depth not in self._kept and not self._opened(depth):
                    break
            if depths[0] not in self._kept:
                self._report_no_room(depths[0])
                return True
            missing = [d for d in depths if d in self._kept and not self._kept[d].is_complete()]
            if missing:
                self._fill(missing)
        except OSError as error:
            if not is_disk_full(error):
                raise
            for kept in self._kept.values():
                self._store.discard(kept)
            self._kept.clear()
            return False
        return True

    def _release_all_but(self, needed: Sequence[int]) -> None:
        for depth in set(self._kept) - set(needed):
            self._kept.pop(depth).close()

    def _opened(self, depth: int) -> bool:
        rows = self._rows(range(len(self._contents)))
        opened = self._store.open(self._digest, depth, rows, self._row_bytes(depth))
        if opened is not None:
            self._kept[depth] = opened
        return opened is not None

    def _rows(self, patients: Iterable[int]) -> list[str]:
        """The names of all rows of some patients; two with the same clips have the same rows."""
        names = (self._row(patient, copy) for patient in patients for copy in range(self.copies + 1))
        return list(dict.fromkeys(names))

    def _row(self, patient: int, copy: int) -> str:
        return f"{self._contents[patient]}-{copy:02d}"

    def _fill(self, depths: Sequence[int]) -> None:
        """Compute and store what is missing, side by side with other processes that do the same."""
        patients = [p for p in range(len(self._contents)) if self._missing(p, depths)]
        source, taken = self._nearest(min(depths), patients), []
        with ExitStack() as stack:
            if source is not None:
                stack.callback(source[1].close)
            with tqdm(total=len(patients), desc="frozen blocks", unit="patient", leave=False) as bar:
                for patient in patients:
                    done = self._fill_patient(patient, depths, source, wait=False)
                    taken += [] if done else [patient]
                    bar.update(done)
                for patient in taken:  # by another process, which may have died
                    self._fill_patient(patient, depths, source, wait=True)
                    bar.update()

    def _fill_patient(
        self, patient: int, depths: Sequence[int], source: tuple[int, ActivationSet] | None, *, wait: bool
    ) -> bool:
        """Whether the patient's rows are stored when this returns; False while another process makes them."""
        if not self._missing(patient, depths):
            return True
        with self._kept[depths[0]].claimed(self._contents[patient], wait=wait) as held:
            if not held:
                return False
            for copy in self._missing(patient, depths):
                start = None
                if source is not None:
                    start = source[0], source[1].read(self._row(patient, copy)).to(self.device)
                for depth, found in self.sources.compute(patient, copy, depths, start).items():
                    self._kept[depth].write(self._row(patient, copy), found)
        return True

    def _missing(self, patient: int, depths: Sequence[int]) -> list[int]:
        """The copies of a patient that are not stored at every depth."""
        copies = range(self.copies + 1)
        return [c for c in copies if not all(self._kept[d].has(self._row(patient, c)) for d in depths)]

    def _nearest(self, depth: int, patients: Sequence[int]) -> tuple[int, ActivationSet] | None:
        """The deepest set below a depth that has all rows of these patients, opened, with its depth."""
        for lower in range(depth - 1, -1, -1):
            found = self._store.open_existing(self._digest, lower, self._rows(patients))
            if found is not None:
                return lower, found
        return None

    def _row_bytes(self, depth: int) -> int:
        """The most that a row takes: of a patient with all views and no frame twice."""
        frames = self.clips.present.shape[1] * self.clips.frames
        numbers = torch.Size(self.sources.shape(depth)).numel()
        return int(frames * (numbers * self.sources.dtype.itemsize + 8)) + HEADER

    def _report_no_room(self, depth: int) -> None:
        if depth not in self._reported and self._store.budget:
            log.warning(
                "The output of the %d frozen blocks would take %.1f GiB, for which feature_disk or the disk "
                "has no room: computing it anew for each batch.",
                depth, len(self._contents) * (self.copies + 1) * self._row_bytes(depth) / 2**30,
            )  # fmt: skip
        self._reported.add(depth)


def frozen(encoder: FrameEncoder, dtype: torch.dtype) -> FrameEncoder:
    """Freeze an encoder of one's own; the weights of its matrix products take the compute dtype.

    Autocast would cast them in every pass, to the same numbers.
    """
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return encoder.eval().requires_grad_(False)
