from __future__ import annotations

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.synthetic.example import example_clips, example_facts


def test_four_small_clips_that_can_be_prepared_and_are_always_the_same(tmp_path) -> None:
    clips = example_clips()
    assert list(clips) == [view.name for view in VIEWS]
    assert example_clips() == clips
    assert sum(map(len, clips.values())) < 300_000
    for name, content in clips.items():
        (tmp_path / name).write_bytes(content)
        quality = prepare_clip(tmp_path / name).quality
        assert quality.phase_verified
        assert quality.scale_source == "regions"
    assert set(example_facts()) == {"HR", "BSA", "MAP"}
