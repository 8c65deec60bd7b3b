"""What the frozen blocks give for the patients of a cohort, computed once and kept in memory.

The frozen part of the backbone is never changed by training, so its output for a patient is the same
in every epoch, fold and variant. It is kept in the compute dtype: pooled frame features where no
block is trained, tokens otherwise. Where it would take more memory than allowed, it is computed anew
for each batch, and a message says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.model.frame_encoder import FrameEncoder, resize_frames
from cardio_mlflow.model.network import unit_range
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.precision import backbone_autocast

log = logging.getLogger(__name__)


class FrozenFeatures:
    """Activations of a frozen encoder for every patient of a clip tensor and every augmented copy.

    The activations at depth d are (V, T, L, D) tokens after the first d blocks; at the encoder's full
    depth they are (V, T, D) frame features.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        data: ClipTensor,
        augmentation: Augmentation,
        copies: int,
        dtype: torch.dtype,
        memory: float,
    ):
        """Take the pretrained encoder, which must not be trained elsewhere.

        Args:
            encoder: the encoder, on its device.
            data: prepared clips of N patients.
            augmentation: how copies differ from the original.
            copies: augmented copies beside the original.
            dtype: compute dtype.
            memory: GiB that the activations may take in all; 0 keeps nothing.
        """
        self.encoder = encoder.eval().requires_grad_(False)
        self.data = data
        self.augmentation = augmentation
        self.copies = copies
        self.dtype = dtype
        self._memory = memory * 2**30
        self._kept: dict[int, Tensor] = {}
        self._told: set[int] = set()

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.encoder.parameters()).device

    def prepare(self, depth: int) -> None:
        """Compute and keep the activations at a depth, if there is room; the largest kept ones make way.

        Args:
            depth: number of frozen blocks.
        """
        if depth in self._kept:
            return
        needed = self._bytes(depth)
        if needed > self._memory:
            self._say_no_room(depth, needed)
            return
        for other in sorted(self._kept, key=lambda kept: self._kept[kept].nbytes, reverse=True):
            if needed + self._used() <= self._memory:
                break
            del self._kept[other]
        self._keep([depth])

    def prepare_together(self, depths: Iterable[int]) -> None:
        """Compute and keep the activations at several depths in one pass, as many as there is room for.

        Args:
            depths: numbers of frozen blocks; what does not fit is left to ``prepare``.
        """
        wanted, room = [], self._memory - self._used()
        for depth in sorted(set(depths) - set(self._kept), key=self._bytes):
            if self._bytes(depth) <= room:
                wanted.append(depth)
                room -= self._bytes(depth)
        if wanted:
            self._keep(wanted)

    def _keep(self, depths: Sequence[int]) -> None:
        copies = self.copies + 1
        kept = {d: torch.empty(len(self.data), copies, *self._shape(d), dtype=self.dtype) for d in depths}
        for patient in tqdm(range(len(self.data)), desc="frozen blocks", unit="patient", leave=False):
            for copy in range(copies):
                for depth, activations in self._compute(patient, copy, depths).items():
                    kept[depth][patient, copy] = activations.to(kept[depth])
        self._kept |= kept

    def batch(self, patients: Sequence[int], copies: Sequence[int], depth: int) -> Tensor:
        """Activations of a batch of B patients.

        Args:
            patients: B positions in the clip tensor.
            copies: the copy to take of each.
            depth: number of frozen blocks.

        Returns:
            (B, V, T, L, D) tokens or, at full depth, (B, V, T, D) frame features, on the device;
            0 for a missing view.
        """
        if depth in self._kept:
            return self._kept[depth][list(patients), list(copies)].to(self.device)
        return torch.stack(
            [self._compute(p, c, [depth])[depth] for p, c in zip(patients, copies, strict=True)]
        )

    @torch.no_grad()
    def _compute(self, patient: int, copy: int, depths: Sequence[int]) -> dict[int, Tensor]:
        """Activations of one copy of one patient at each depth, from one pass through the encoder."""
        present = self.data.present[patient].to(self.device)
        images = self._images(patient, copy, present)
        results, reached = {}, 0
        with backbone_autocast(self.dtype, self.device):
            tokens = self.encoder.tokens(images, 0)
            for depth in sorted(depths):
                tokens = self.encoder.blocks(tokens, reached, depth)
                reached = depth
                results[depth] = self.encoder.pool(tokens) if depth == self.encoder.depth else tokens
        return {depth: self._by_view(result, present, depth) for depth, result in results.items()}

    def _images(self, patient: int, copy: int, present: Tensor) -> Tensor:
        """The frames of a patient's present views at the backbone's size, copied: (F, H, W)."""
        clips = self.data.clips[patient].to(self.device)[present]
        views, frames = clips.shape[:2]
        images = resize_frames(unit_range(clips.flatten(0, 1)), self.encoder.image_size)
        whole = images.new_zeros(len(present), frames, *images.shape[-2:])
        whole[present] = images.view(views, frames, *images.shape[1:])
        copied = self.augmentation.copy_of(whole, self.data.patient_ids[patient], copy)
        return copied[present].flatten(0, 1)

    def _by_view(self, result: Tensor, present: Tensor, depth: int) -> Tensor:
        """Put (F, ...) results of the present views in their places; 0 for a missing view."""
        out = torch.zeros(self._shape(depth), dtype=self.dtype, device=self.device)
        out[present] = result.to(self.dtype).view(-1, *self._shape(depth)[1:])
        return out

    def _shape(self, depth: int) -> tuple[int, ...]:
        views, frames = self.data.clips.shape[1:3]
        tokens = () if depth == self.encoder.depth else (self.encoder.token_count,)
        return (views, frames, *tokens, self.encoder.width)

    def _bytes(self, depth: int) -> int:
        count = len(self.data) * (self.copies + 1)
        return int(count * torch.Size(self._shape(depth)).numel() * self.dtype.itemsize)

    def _used(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values())

    def _say_no_room(self, depth: int, needed: int) -> None:
        if depth not in self._told:
            log.warning(
                "The output of the %d frozen blocks would take %.1f GiB, more than feature_memory allows: "
                "computing it anew for each batch.", depth, needed / 2**30,
            )  # fmt: skip
        self._told.add(depth)
