"""A report in a real browser: headless Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

BROWSER: Final = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

# Counts the images that are shown, and how many pixels the page is too wide.
_PROBE: Final = (
    "<script>addEventListener('load', () => { const images = [...document.images];"
    "document.body.dataset.seen = images.filter(i => i.complete && i.naturalWidth > 0).length;"
    "document.body.dataset.wide = document.documentElement.scrollWidth - innerWidth; })</script></body>"
)


def browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page as it is; stdout is the page as the browser has it, stderr has the console."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=1000",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'browser'}", "--dump-dom", *options,
        page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)


def images_and_excess(page: Path, folder: Path, width: int) -> tuple[int, int]:
    """How many images of a page are shown at a window's width, and how far the page is wider than it.

    The page may run no script, so it is asked in a copy without that rule.
    """
    text = page.read_text("utf-8")
    driven = folder / "driven.html"
    driven.write_text(re.sub(r"<meta http-equiv[^>]+>", "", text).replace("</body>", _PROBE), "utf-8")
    shown = browse(driven, folder, f"--window-size={width},900").stdout
    body = re.search(r"<body ([^>]+)>", shown)
    assert body is not None
    seen, wide = (re.search(rf'data-{name}="(-?\d+)"', body[1]) for name in ("seen", "wide"))
    assert seen is not None
    assert wide is not None
    return int(seen[1]), int(wide[1])
