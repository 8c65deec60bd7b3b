"""What became of each file, where an export changes while it is sorted."""

from __future__ import annotations

from cardio_mlflow.data.cohort.export_files import ExportFile
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting.collecting import FoundFile
from cardio_mlflow.data.sorting.facts import HeaderFacts
from cardio_mlflow.pipelines.sorted_clips import SortedClips, prepare_pictures
from cardio_mlflow.settings_reading import load_settings


def test_a_file_that_went_away_after_its_header_was_read_is_not_called_another_view(tmp_path):
    facts = HeaderFacts(Outcome.OK, "", "cine", 40)
    gone = FoundFile(ExportFile("IM_1", tmp_path / "IM_1"), facts, "R0002")
    settings = load_settings({"cache": str(tmp_path / "cache"), "jobs": "1"}, {})
    clips = SortedClips([gone], prepare_pictures([gone], settings), {}, None, None)
    (row,) = clips.rows()
    assert (row.outcome, row.taken) == (Outcome.UNREADABLE, False)
    assert row.why == row.message == "the file cannot be read (No such file or directory)"
    assert list(clips.fates()) == [f"UNREADABLE: {Outcome.UNREADABLE.words}"]
    assert clips.shown() == []


def test_an_export_without_a_clip_has_nothing_to_prepare_and_an_empty_page(tmp_path):
    still = FoundFile(ExportFile("IM_1", tmp_path), HeaderFacts(kind="still"), "R0002", why_not="a still")
    settings = load_settings({"cache": str(tmp_path / "cache"), "jobs": "1"}, {})
    clips = SortedClips([still], prepare_pictures([], settings), {}, None, None)
    assert (clips.shown(), clips.sources().total(), dict(clips.fates())) == ([], 0, {"a still": 1})
    assert isinstance(clips.suggestions, str)
