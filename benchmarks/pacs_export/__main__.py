"""Make a PACS export of synthetic patients.

    python -m benchmarks.pacs_export FOLDER [--patients 40] [--seed 1] [--no-view-tags] [--zip] [--jobs 2]

FOLDER/pacs is the export, FOLDER/rhc.xlsx the sheet, FOLDER/truth.json what each file is.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from benchmarks.pacs_export.export import make_export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=40, help="in the export")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--view-tags", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--zip", action="store_true", help="all files in one zip file")
    parser.add_argument("--jobs", type=int, default=2)
    words = parser.parse_args()
    start = time.perf_counter()
    export = make_export(words.folder, words.patients, words.seed, words.view_tags, words.zip, words.jobs)
    size = sum(path.stat().st_size for path in export.root.rglob("*") if path.is_file())
    kinds = Counter(file.kind for file in export.files.values())
    print(f"{len(export.files)} files, {size / 1e6:.0f} MB, {time.perf_counter() - start:.0f} s")
    print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))


if __name__ == "__main__":
    main()
