"""The headers of many files, read in child processes that files may kill, hang, or take over."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.cohort.export_files import ExportFile, list_export
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting import header_reading
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity
from cardio_mlflow.data.sorting.header_reading import FactsAnswer, read_all_facts
from tests.data.small_clips import fan, write_clip
from tests.waiting import wait_for_the_end_of

HOSTILE = """
    import os, time
    from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity

    def read_facts(path):
        if path.name == "die":
            os.abort()
        if path.name == "hang":
            time.sleep(60)
        if path.name == "eat":
            return bytearray(2**33)
        if path.name == "fault":
            raise KeyError("WORDS of the file")
        name = {"long": "x" * 9999, "lines": "a\\nb"}.get(path.name, "山田")
        return HeaderFacts(identity=Identity(path.name, name))
"""


def files(*names: str) -> list[ExportFile]:
    return [ExportFile(name, Path("/export") / name) for name in names]


@pytest.fixture
def hostile(tmp_path, monkeypatch) -> None:
    (tmp_path / "hostile_facts.py").write_text(textwrap.dedent(HOSTILE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(header_reading, "_READING", "hostile_facts")


def test_a_file_that_kills_or_hangs_the_child_costs_itself_alone(hostile, capfd):
    names = ("a", "die", "b", "hang", "c", "eat", "d", "fault", "long", "e", "lines", "f")
    found = {file.place: facts for file, facts in read_all_facts(files(*names), 2, Limits(2.0, 300))}
    assert tuple(found) == names
    refused = {name: (facts.outcome, facts.message) for name, facts in found.items() if facts.message}
    senseless = (Outcome.CORRUPT_FRAME, "the decoder sent an answer that makes no sense")
    fault = refused.pop("fault")
    assert refused == {
        "die": (Outcome.CORRUPT_FRAME, "the decoder died"),
        "hang": (Outcome.CORRUPT_FRAME, "took longer than 2 s"),
        "eat": (Outcome.TOO_LARGE, "needs more than 300 MiB of memory"),
        "long": senseless, "lines": senseless,
    }  # fmt: skip
    assert fault[0] is Outcome.CORRUPT_FRAME
    assert all(found[name].identity == Identity(name, "山田") for name in "abcdef")
    assert "WORDS" not in "".join(capfd.readouterr()) + fault[1]


def test_the_files_of_an_export_are_read_in_order(tmp_path):
    for name in ("IM_10", "IM_2", "süß \udcff"):
        write_clip(tmp_path / "clip", fan(3, 96, 96), PatientID=name[:3]).rename(tmp_path / name)
    (tmp_path / "away").symlink_to("/etc/passwd")
    found = list(read_all_facts(list_export(tmp_path).files, 2))
    assert [(file.place, facts.identity.patient_id) for file, facts in found if not file.fault] == [
        ("IM_2", "IM_"), ("IM_10", "IM_"), ("süß \udcff", "süß"),
    ]  # fmt: skip
    assert [(file.place, facts.outcome, facts.message) for file, facts in found if file.fault] == [
        ("away", Outcome.UNREADABLE, "the file cannot be read (a link out of the export)")
    ]


def test_whoever_stops_early_leaves_no_process(hostile):
    before = psutil.Process().children(recursive=True)  # of other tests
    facts: Iterator[object] = read_all_facts(files(*(["a"] * 200)), 2, Limits(60, 300))
    next(facts)
    children = set(psutil.Process().children(recursive=True)) - set(before)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    facts.close()
    wait_for_the_end_of(workers)


def test_no_file_is_no_work():
    assert list(read_all_facts([], 2)) == []


GOOD = HeaderFacts(pictures=("2-D",), identity=Identity("Ä1", study="0" * 32), frames=3)
BAD = {
    "a control character": {"identity": asdict(Identity("a\nb"))},
    "too long": {"identity": asdict(Identity("x" * 301))},
    "no ASCII in our words": {"message": "ä"}, "a kind": {"kind": "film"}, "an outcome": {"outcome": "FINE"},
    "negative": {"frames": -1}, "huge": {"frames": 2**31}, "many": {"pictures": ["2-D"] * 17},
    "a new field": {"new": 1},
}  # fmt: skip


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_an_answer_out_of_bounds_is_refused(change):
    head = {"number": 1, "record": asdict(GOOD)}
    assert FactsAnswer.model_validate_json(json.dumps(head)).record == GOOD
    with pytest.raises(ValidationError):
        FactsAnswer.model_validate_json(json.dumps(head | {"record": asdict(GOOD) | change}))
