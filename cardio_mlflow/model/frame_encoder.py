"""From gray frames to one feature per frame, with the backbone's frozen and trained parts separable."""

from __future__ import annotations

import hashlib
import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from cardio_mlflow.model.vit_families import Family, family_of, height_width

FUSED_ATTENTION: Final = "sdpa"
"""The attention that backbones are loaded with, of `torch.nn.functional.scaled_dot_product_attention`."""


class FrameEncoder(nn.Module):
    """A vision transformer that encodes each frame by itself.

    ``forward`` is ``pool(blocks(tokens(frames, depth), depth))`` for any depth: the tokens after the
    first ``depth`` blocks can be computed once and kept while those blocks are frozen.
    """

    def __init__(self, vit: PreTrainedModel):
        """Take a one-channel vision transformer (see ``model.backbone``)."""
        super().__init__()
        self.vit = vit

    @property
    def _family(self) -> Family:
        return family_of(self.vit.config)

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.layer_groups())

    @property
    def width(self) -> int:
        """Length of a frame feature."""
        return int(self.vit.config.hidden_size)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images the backbone takes."""
        return height_width(self.vit.config.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of a frame."""
        (height, width), (down, across) = self.image_size, height_width(self.vit.config.patch_size)
        return height // down, width // across

    @property
    def prefix_count(self) -> int:
        """Tokens before the patch tokens: those of class, distillation and registers."""
        return sum(int(getattr(self.vit.embeddings, name).shape[1]) for name in self._family.prefix)

    @property
    def token_count(self) -> int:
        """Tokens of a frame, those before the patch tokens included."""
        return self.prefix_count + math.prod(self.grid)

    @property
    def hidden_width(self) -> int:
        """Numbers of a token between the layers of a block's MLP; both halves where it is gated."""
        layers = self.layer_groups()[0].get_submodule("mlp").modules()
        return sum(layer.out_features for layer in layers if isinstance(layer, nn.Linear)) - self.width

    @property
    def final_norm(self) -> nn.Module:
        """The layer norm after the last block."""
        norm: nn.Module = self.vit.get_submodule(self._family.final_norm)
        return norm

    def hash_weights(self, digest: hashlib.blake2b) -> None:
        """Add every weight, with its name, to a digest."""
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())

    def layer_groups(self) -> list[nn.Module]:
        """The blocks from the lowest to the topmost: what unfreezing and learning rates go by."""
        return list(self.vit.get_submodule(self._family.blocks).children())

    def attentions(self) -> list[nn.Module]:
        """Each block's attention: returns its output and, on the plain path, (N, heads, L, L) weights."""
        return [block.get_submodule(self._family.attention) for block in self.layer_groups()]

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: (N, H, W), values 0-1, of any size.

        Returns:
            (N, D) frame features.
        """
        features: Tensor = self.pool(self.blocks(self.tokens(frames, 0), 0))
        return features

    def tokens(self, frames: Tensor, depth: int) -> Tensor:
        """Embed frames and run the first ``depth`` blocks.

        Args:
            frames: (N, H, W), values 0-1; resized to the backbone's image size.
            depth: number of blocks to run.

        Returns:
            (N, L, D) tokens, the patch tokens last, in rows.
        """
        images = resize_frames(frames, self.image_size).unsqueeze(1)
        tokens = self._family.embed(self.vit, images)
        return self.blocks(tokens.to(compute_dtype_of(tokens)), 0, depth)

    def blocks(self, tokens: Tensor, depth: int, stop: int | None = None) -> Tensor:
        """Run the blocks from ``depth`` to ``stop`` (or the last) on (N, L, D) tokens; returns (N, L, D)."""
        dtype, positions = compute_dtype_of(tokens), self._rotation(tokens)
        for block in self.layer_groups()[depth:stop]:
            tokens = block(tokens, attention_mask=None, **positions).to(dtype)
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Average the normalised patch tokens: (N, L, D) to (N, D)."""
        return self.patches(tokens).mean(1).to(compute_dtype_of(tokens))

    def patches(self, tokens: Tensor) -> Tensor:
        """The normalised patch tokens: (N, L, D) to (N, rows · columns, D)."""
        normed: Tensor = self.final_norm(tokens)
        return normed[:, self.prefix_count :]

    def _rotation(self, tokens: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """What blocks with rotary positions take: cosine and sine, (rows · columns, D / heads) each."""
        if not self._family.rotary:
            return {}
        only_a_shape = tokens.new_empty(1, dtype=torch.float32).expand(1, 1, *self.image_size)
        return {"position_embeddings": self.vit.rope_embeddings(only_a_shape)}


def compute_dtype_of(tensor: Tensor) -> torch.dtype:
    """The dtype that autocast computes in where it is on, else the tensor's own.

    Tokens have it between blocks, so that a pass that starts from kept tokens gives the same numbers.
    """
    if torch.is_autocast_enabled(tensor.device.type):
        return torch.get_autocast_dtype(tensor.device.type)
    return tensor.dtype


def resize_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, H, W) frames to (N, *size), with antialiasing; unchanged when they have that size."""
    if frames.shape[-2:] == size:
        return frames
    resized: Tensor = functional.interpolate(frames.unsqueeze(1), size, mode="bilinear", antialias=True)
    return resized.squeeze(1)
