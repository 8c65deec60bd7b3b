"""The checklists: complete, and filled only by what the report contains."""

from __future__ import annotations

import dataclasses

from cardio_mlflow.report.checklists import CLAIM_ITEMS, TRIPOD_AI_ITEMS, checklist_rows
from cardio_mlflow.report.methods import MethodFacts
from cardio_mlflow.settings_reading import load_settings

FACTS = MethodFacts("II", 48, 1000, 0, 5, {"torch": "2.13.0"}, True, "1", 1)
TABLES = ("participants", "discrimination", "worst_patients", "subgroups:people", "subgroups:scanner")


def _filled(*arguments, **given):
    return {
        (row.checklist, row.number) for row in checklist_rows(*arguments, **given) if row.status == "filled"
    }


def test_all_items_are_there_once():
    tripod = [item.number for item in TRIPOD_AI_ITEMS]
    assert len(tripod) == len(set(tripod)) == 52
    assert list(dict.fromkeys(int(number.rstrip("abcdefg")) for number in tripod)) == list(range(1, 28))
    assert [item.number for item in CLAIM_ITEMS] == [str(number) for number in range(1, 45)]


def test_what_is_missing_stays_open():
    full = _filled(FACTS, load_settings({}, {}), tables=TABLES)
    without = _filled(FACTS, load_settings({}, {}))
    assert {("TRIPOD+AI 2024", "20a"), ("CLAIM 2024", "39"), ("CLAIM 2024", "35")} <= full - without
    assert ("CLAIM 2024", "22") in without
    bare = _filled(dataclasses.replace(FACTS, versions={}), None)
    assert bare < without < full
    assert not {("CLAIM 2024", "22"), ("CLAIM 2024", "23"), ("CLAIM 2024", "19")} & bare
    assert ("TRIPOD+AI 2024", "12e") in bare


def test_what_no_program_knows_is_never_filled():
    full = _filled(FACTS, load_settings({}, {}), tables=TABLES)
    for number in ("1", "2", "6b", "17", "18a", "18d", "19", "25", "26", "8a"):
        assert ("TRIPOD+AI 2024", number) not in full
    for number in ("5", "8", "33", "40", "44"):
        assert ("CLAIM 2024", number) not in full


def test_every_row_says_where_or_what_is_missing():
    rows = checklist_rows(FACTS, None)
    assert all(row.where and row.item for row in rows)
    assert "not in this report: settings" in next(r for r in rows if r.number == "12c").where
    assert ("CLAIM 2024", "32") in _filled(dataclasses.replace(FACTS, cohort="I"), None)
    assert ("CLAIM 2024", "32") not in _filled(FACTS, None)
