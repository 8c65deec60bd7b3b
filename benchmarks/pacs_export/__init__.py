"""A PACS export made by the synthetic generator: what a researcher is handed, with the truth about it."""

from __future__ import annotations

from benchmarks.pacs_export.export import Export, ExportedFile, make_export

__all__ = ["Export", "ExportedFile", "make_export"]
