"""What the frozen blocks give for the patients of a cohort, computed once and kept memory-mapped.

The frozen part of the backbone is never changed by training, so its output for a patient is the same
in every epoch, fold and variant. It is kept in the compute dtype: pooled frame features where no
block is trained, tokens otherwise. The tokens have that dtype between any two blocks, so it makes no
difference where a pass starts. What there is no room for is computed anew for each batch, and a message
says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cardio_mlflow.model.frame_encoder import FrameEncoder, resize_frames
from cardio_mlflow.model.network import unit_range
from cardio_mlflow.training.activation_set import ActivationSet, is_no_room
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.backbone_pass import run_blocks
from cardio_mlflow.training.feature_sources import Sources
from cardio_mlflow.training.precision import backbone_autocast

log = logging.getLogger(__name__)


class FrozenFeatures:
    """Activations of a frozen encoder for every patient of a cohort and every augmented copy.

    The activations at depth d are (V, T, L, D) tokens after the first d blocks; at the encoder's full
    depth they are (V, T, D) frame features.
    """

    def __init__(self, sources: Sources, store: ActivationStore):
        """Take what activations are made from, and where they are kept."""
        self.sources = sources
        self.encoder = sources.encoder.eval().requires_grad_(False)
        self.clips = sources.clips
        self.copies = sources.copies
        self.dtype = sources.dtype
        self.device = sources.device
        self._store = store
        self._digest = sources.digest()
        if self.dtype != torch.float32:
            _cast_products(self.encoder, self.dtype)
        self._kept: dict[int, ActivationSet] = {}
        self._told: set[int] = set()

    def prepare(self, depth: int, later: Sequence[int] = ()) -> None:
        """Have the activations at a depth stored, if there is room, and let go of what is not needed.

        The pass that computes them also stores those of the depths that are needed later, the soonest
        first, as many as there is room for. It starts from the nearest stored activations.

        Args:
            depth: number of frozen blocks.
            later: the depths that will be asked for next.
        """
        self._let_go([depth, *later])
        wanted = [d for d in dict.fromkeys([depth, *later]) if d in self._kept or self._opened(d)]
        if depth not in wanted:
            self._say_no_room(depth)
            return
        missing = [d for d in wanted if not self._kept[d].is_complete()]
        if missing:
            self._fill(missing)

    def is_kept(self, depth: int) -> bool:
        """Whether the activations at a depth come from the store."""
        return depth in self._kept

    def batch(self, patients: Sequence[int], copies: Sequence[int], depth: int) -> Tensor:
        """Activations of a batch of B patients, in host memory where they are kept.

        Args:
            patients: B positions in the cohort.
            copies: the copy to take of each.
            depth: number of frozen blocks.

        Returns:
            (B, V, T, L, D) tokens or, at full depth, (B, V, T, D) frame features; 0 for a missing view.
        """
        pairs = list(zip(patients, copies, strict=True))
        if depth in self._kept:
            return torch.stack([self._kept[depth].read(_row(p, c)) for p, c in pairs])
        return torch.stack([self._compute(p, c, [depth], None)[depth] for p, c in pairs])

    def empty(self, depth: int) -> Tensor:
        """The activations of a batch of no patients."""
        return torch.empty(0, *self._shape(depth), dtype=self.dtype, device=self.device)

    def close(self) -> None:
        """Let go of everything, so that it may make way for others."""
        self._let_go([])

    def _let_go(self, needed: Sequence[int]) -> None:
        for depth in set(self._kept) - set(needed):
            self._kept.pop(depth).close()

    def _opened(self, depth: int) -> bool:
        row_bytes = torch.Size(self._shape(depth)).numel() * self.dtype.itemsize
        opened = self._store.open(self._key(depth), self._rows, int(row_bytes))
        if opened is not None:
            self._kept[depth] = opened
        return opened is not None

    def _key(self, depth: int) -> str:
        return f"{self._digest}-{depth:02d}"

    @property
    def _rows(self) -> int:
        return len(self.clips.patient_ids) * (self.copies + 1)

    def _fill(self, depths: Sequence[int]) -> None:
        """Compute and store what is missing, side by side with other processes that do the same."""
        source = self._nearest(min(depths))
        try:
            patients, taken = range(len(self.clips.patient_ids)), []
            with tqdm(total=len(patients), desc="frozen blocks", unit="patient", leave=False) as bar:
                for patient in patients:
                    done = self._fill_patient(patient, depths, source, wait=False)
                    taken += [] if done else [patient]
                    bar.update(done)
                for patient in taken:  # by another process, which may have died
                    self._fill_patient(patient, depths, source, wait=True)
                    bar.update()
        except OSError as error:
            if not is_no_room(error):
                raise
            log.warning("The disk is full: frozen features are computed anew for each batch from here on.")
            self._let_go([])
            for depth in depths:
                self._store.discard(self._key(depth))
            self._store.budget = 0
        finally:
            if source is not None:
                source[1].close()

    def _fill_patient(
        self, patient: int, depths: Sequence[int], source: tuple[int, ActivationSet] | None, *, wait: bool
    ) -> bool:
        """Whether the patient's rows are stored when this returns; False while another process makes them."""
        if not self._missing(patient, depths):
            return True
        with self._kept[depths[0]].claimed(f"{patient:05d}", wait=wait) as held:
            if not held:
                return False
            for copy in self._missing(patient, depths):
                for depth, activations in self._compute(patient, copy, depths, source).items():
                    self._kept[depth].write(_row(patient, copy), activations)
        return True

    def _missing(self, patient: int, depths: Sequence[int]) -> list[int]:
        """The copies of a patient that are not stored at every depth."""
        copies = range(self.copies + 1)
        return [c for c in copies if not all(self._kept[d].has(_row(patient, c)) for d in depths)]

    def _nearest(self, depth: int) -> tuple[int, ActivationSet] | None:
        """The deepest complete set below a depth, opened, with its depth."""
        for lower in range(depth - 1, -1, -1):
            found = self._store.open_existing(self._key(lower), self._rows)
            if found is not None:
                return lower, found
        return None

    @torch.no_grad()
    def _compute(
        self, patient: int, copy: int, depths: Sequence[int], source: tuple[int, ActivationSet] | None
    ) -> dict[int, Tensor]:
        """Activations of one copy of one patient at each depth, from one pass through the encoder."""
        present = self.clips.present[patient].to(self.device)
        results = {}
        with backbone_autocast(self.dtype, self.device):
            if source is None:
                reached, tokens = 0, self.encoder.tokens(self._images(patient, copy, present), 0)
            else:
                reached = source[0]
                tokens = source[1].read(_row(patient, copy)).to(self.device)[present].flatten(0, 1)
            for depth in sorted(depths):
                pooled = depth == self.encoder.depth
                end = run_blocks(self.encoder, tokens, reached, depth, pool=pooled)
                results[depth] = self._by_view(end, present, depth)
                tokens, reached = end, depth
        return results

    def _images(self, patient: int, copy: int, present: Tensor) -> Tensor:
        """The frames of a patient's present views at the backbone's size, copied: (F, H, W)."""
        clips = self.clips.clips_of(patient).to(self.device)[present]
        views, frames = clips.shape[:2]
        images = resize_frames(unit_range(clips.flatten(0, 1)), self.encoder.image_size)
        whole = images.new_zeros(len(present), frames, *images.shape[-2:])
        whole[present] = images.view(views, frames, *images.shape[1:])
        copied = self.sources.augmentation.copy_of(whole, self.clips.patient_ids[patient], copy)
        return copied[present].flatten(0, 1)

    def _by_view(self, result: Tensor, present: Tensor, depth: int) -> Tensor:
        """Put (F, ...) results of the present views in their places; 0 for a missing view."""
        out = torch.zeros(self._shape(depth), dtype=self.dtype, device=self.device)
        out[present] = result.to(self.dtype).view(-1, *self._shape(depth)[1:])
        return out

    def _shape(self, depth: int) -> tuple[int, ...]:
        views, frames = self.clips.present.shape[1], self.clips.frames
        tokens = () if depth == self.encoder.depth else (self.encoder.token_count,)
        return (views, frames, *tokens, self.encoder.width)

    def _say_no_room(self, depth: int) -> None:
        if depth not in self._told and self._store.budget:
            needed = self._rows * torch.Size(self._shape(depth)).numel() * self.dtype.itemsize / 2**30
            log.warning(
                "The output of the %d frozen blocks would take %.1f GiB, for which feature_disk or the disk "
                "has no room: computing it anew for each batch.", depth, needed,
            )  # fmt: skip
        self._told.add(depth)


def _cast_products(encoder: FrameEncoder, dtype: torch.dtype) -> None:
    """Keep the weights of matrix products in the compute dtype, as autocast would cast them in every pass."""
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)


def _row(patient: int, copy: int) -> str:
    return f"{patient:05d}-{copy:02d}"
