"""The largest clips that are read, whatever they are stored in."""

from __future__ import annotations

from typing import Final

MAX_SIDE: Final = 4096
"""Rows or columns of a frame."""
MAX_FRAME_PIXELS: Final = 2**23
"""Pixels of a frame: 3840 × 2160 fits; a colour frame then has 24 MiB."""
MAX_FRAMES: Final = 2000
"""Frames of a clip."""
MAX_INFLATED_BYTES: Final = 4 * 1024**3
"""All frames of a clip, decoded."""
