"""What a user sees of messages: this package's own, plainly, and little of other packages'."""

from __future__ import annotations

import logging
import sys

from transformers.utils.logging import disable_progress_bar


def quiet() -> None:
    """Plain messages of this package, and only what matters of others."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("cardio_mlflow").setLevel(logging.INFO)
    for noisy in ("transformers", "mlflow", "alembic", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    disable_progress_bar()
    logging.captureWarnings(capture=True)  # of libraries, to the user no use
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
