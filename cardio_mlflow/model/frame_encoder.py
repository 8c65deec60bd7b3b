"""From gray frames to one feature a frame, with the backbone's frozen and trained parts separable."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ViTModel


class FrameEncoder(nn.Module):
    """A ViT that encodes each frame by itself.

    ``forward`` is ``pool(blocks(tokens(frames, depth), depth))`` for any depth: the tokens after the
    first ``depth`` blocks can be computed once and kept while those blocks are frozen.
    """

    def __init__(self, vit: ViTModel):
        """Take a one-channel ViT (see ``model.backbone``)."""
        super().__init__()
        self.vit = vit

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.vit.layers)

    @property
    def width(self) -> int:
        """Length of a frame feature."""
        return int(self.vit.config.hidden_size)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images the backbone takes."""
        size = self.vit.config.image_size
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    @property
    def token_count(self) -> int:
        """Tokens of a frame, the class token included."""
        return int(self.vit.embeddings.position_embeddings.shape[1])

    def layer_groups(self) -> list[nn.Module]:
        """The blocks from the lowest to the topmost: what unfreezing and learning rates go by."""
        return list(self.vit.layers)

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
            (N, L, D) tokens, the class token first.
        """
        images = resize_frames(frames, self.image_size).unsqueeze(1)
        tokens: Tensor = self.vit.embeddings(images)
        tokens = tokens.to(compute_dtype_of(tokens))
        for block in self.vit.layers[:depth]:
            tokens = block(tokens)
        return tokens

    def blocks(self, tokens: Tensor, depth: int, stop: int | None = None) -> Tensor:
        """Run the blocks from ``depth`` to ``stop`` (or the last) on (N, L, D) tokens; returns (N, L, D)."""
        for block in self.vit.layers[depth:stop]:
            tokens = block(tokens)
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Average the normalised patch tokens: (N, L, D) to (N, D)."""
        pooled: Tensor = self.vit.layernorm(tokens)[:, 1:].mean(1)
        return pooled.to(compute_dtype_of(tokens))


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
