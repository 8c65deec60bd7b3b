from __future__ import annotations

import csv
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cohort import export_link
from cardio_mlflow.data.cohort.cohort import read_cohort
from cardio_mlflow.data.cohort.labels import read_patients
from cardio_mlflow.data.sorting import cohort_folder
from cardio_mlflow.data.sorting.cohort_folder import CohortFolder, SortedFile, known_identities
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity
from cardio_mlflow.errors import InputError
from cardio_mlflow.files import write_whole

NAMES = {"0004711": "R0002", "4712": "R0003"}
HEADERS = [
    HeaderFacts(identity=Identity("4711", "MÖRKOWITZ^Vera", "19370211", "F", "ACC99881", "s", "20180512"))
]
FILES = [
    SortedFile("DICOM/IM_1", "R0002", -3, "cine", 40, "OK", "", "FC", "tags", "View Name", None, True),
    SortedFile("Mörkowitz_Vera/IM_2", "R0002", -3, "cine", 40, "OK", "", "LA", "suggested", "", 0.9871, True),
    SortedFile("DICOM/0004712/IM_1", "R0003", None, "cine", 31, "OK", "", "TC", "eye", taken=True),
    SortedFile(
        "DICOM/IM_3",
        "X0001",
        None,
        "still",
        1,
        "SINGLE_FRAME",
        "a still",
        why="not in the sheet",
        shows=("2-D", "colour"),
    ),
]
BY_EYE = {"00ff": ("TC", True), "00aa": ("other", False)}


@pytest.fixture
def place(tmp_path):
    for file in FILES:
        (tmp_path / "export" / file.place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "export" / file.place).write_bytes(file.place.encode())
    (tmp_path / "rhc.csv").write_text(
        "patient_id,RAP,PVR,accession,rhc_date,sex,age,rhythm,scanner,ward\n"
        "0004711,5,1.25,ACC99881,2018-05-12,f,63,sinus,Vivid E95,M\u00f6rkowitz\n"
        "4712,,2.5,,2018-05-13,m,1937,of Vera,serial 4711223,x\n"
    )
    return tmp_path


def write(place, files=FILES, folder="cohort"):
    sheet = read_patients(place / "rhc.csv", 2)
    target = CohortFolder.of(place / folder, place / "export")
    return target.write(sheet, NAMES, files, BY_EYE, known_identities(HEADERS, sheet), {}, place / "cache")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_back(place):
    cohort = read_cohort(place / "cohort", 2, "ask", None, place / "cache")
    return {(c.patient_id, c.view): c.path.read_bytes().decode() for c in cohort.clips}, cohort


def test_what_is_written_is_read_back(place):
    notes = write(place)
    clips, cohort = read_back(place)
    assert clips == {(file.patient, file.view): file.place for file in FILES if file.taken}
    assert cohort.labels.loc["R0002", ["RAP", "PVR", "sex", "age", "scanner"]].tolist() == [
        5,
        1.25,
        "f",
        "63",
        "Vivid E95",
    ]
    assert cohort.labels.loc["R0003", ["age", "rhythm", "scanner"]].isna().all()
    assert len(notes) == 3
    head = (place / "cohort" / "labels.csv").read_text().split("\n")[0].split(",")
    assert not {"accession", "rhc_date", "ward", "cohort", "person"} & set(head)
    with (place / "cohort" / "sort_report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows if row["file"].startswith("DICOM")] == ["DICOM/IM_1", "DICOM/IM_3"]
    assert [row["view"] for row in rows] == ["A4C", "PLAX", "A2C", ""]
    assert (rows[1]["probability"], rows[3]["shows"]) == ("0.987", "2-D + colour")
    assert (place / "cohort" / "views.csv").read_text() == "clip,view,chosen\n00aa,other,no\n00ff,A2C,yes\n"


def test_nothing_that_is_written_holds_an_identity(place):
    (place / "cohort").mkdir()
    export_link.write_link(place / "cohort", export_link.ExportLink("0f" * 32))  # no digits by chance
    write(place)
    for name, data in contents(place / "cohort").items():
        text = data.decode().casefold().replace(f"{place}/export/".casefold(), "")  # as the user typed it
        for secret in ("4711", "4712", "rkowitz", "vera", "acc99881", "1937", "2018", str(place).casefold()):
            assert secret not in text, name


def test_persons_with_several_rows_stay_together_and_a_given_cohort_is_kept(place):
    (place / "rhc.csv").write_text("id,person,cohort,RAP\n0004711,Vera M,II,5\n4712,vera m,II,6\n")
    write(place)
    text = (place / "cohort" / "labels.csv").read_text().split("\n")
    assert [line.split(",")[:3] for line in text[:3]] == [
        ["patient_id", "cohort", "person"], ["R0002", "II", "R0002"], ["R0003", "II", "R0002"]]  # fmt: skip


def test_a_second_writing_changes_nothing_and_another_outcome_is_written(place):
    write(place)
    before, times = contents(place / "cohort"), [p.stat().st_mtime_ns for p in (place / "cohort").iterdir()]
    write(place)
    assert contents(place / "cohort") == before
    assert [p.stat().st_mtime_ns for p in (place / "cohort").iterdir()] == times
    write(place, FILES[:1])
    assert list(read_back(place)[0]) == [("R0002", "FC")]


@pytest.mark.parametrize("name", ["labels.csv", "clips.csv", "views.csv", "sort_report.csv", "export.json"])
def test_what_somebody_changed_or_brought_is_not_lost(place, name):
    write(place)
    changed = place / "cohort" / name
    changed.write_text(f"{changed.read_text()}\n")
    if name == "export.json":  # the same link, which only white space parts from what was written
        write(place)
        changed.write_text("{}")
    before = contents(place / "cohort")
    with pytest.raises(InputError, match=r"not written by sort|has been changed since"):
        write(place, FILES[:1])
    assert contents(place / "cohort") == before
    (place / "other").mkdir()
    (place / "other" / name.upper()).write_text("mine")
    with pytest.raises(InputError, match="not written by sort"):
        write(place, folder="other")
    assert contents(place / "other") == {name.upper(): b"mine"}


def test_a_page_that_somebody_else_made_stays(place):
    (place / "cohort").mkdir()
    (place / "cohort" / "sort.html").write_text("mine")
    with pytest.raises(InputError, match=r"sort\.html that was not written by sort"):
        write(place)
    assert contents(place / "cohort") == {"sort.html": b"mine"}


@pytest.mark.parametrize("kind", ["in the export", "link into it", "a file", "xlsx", "a link", "a pipe"])
def test_places_that_are_refused(place, kind):
    target = place / "cohort"
    if kind == "link into it":
        target.symlink_to(place / "export")
    elif kind == "a file":
        target.write_text("mine")
    elif kind != "in the export":
        target.mkdir()
        if kind == "xlsx":
            (target / "labels.xlsx").write_text("mine")
        elif kind == "a link":
            (target / "clips.csv").symlink_to(place / "nowhere")
        else:
            os.mkfifo(target / "clips.csv")
    with pytest.raises(InputError):
        write(place, folder="export/DICOM" if kind == "in the export" else "cohort")
    assert len(list((place / "export").rglob("IM_*"))) == len(FILES)


class Killed(BaseException):
    """What no `except` of the package catches."""


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("moment", range(8))
def test_a_run_that_is_killed_between_two_files_leaves_a_folder_for_the_next(
    place, monkeypatch, moment, again
):
    if again:
        write(place)
        (place / "rhc.csv").write_text((place / "rhc.csv").read_text().replace("1.25", "1.5"))
    left = moment

    def write_or_die(path: Path, *content, **given) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        write_whole(path, *content, **given)

    for module in (cohort_folder, export_link):
        monkeypatch.setattr(module, "write_whole", write_or_die)
    try:
        write(place, FILES[::-1])
        assert moment >= 6
    except Killed:
        assert moment < 7
        if (
            moment
            and not (place / "cohort" / "clips.csv").exists()
            and (place / "cohort" / "labels.csv").exists()
        ):
            with pytest.raises(InputError, match="Run sort again"):
                read_back(place)
    monkeypatch.undo()
    write(place)
    assert len(read_back(place)[0]) == 3


words = st.sampled_from(["DICOM", "IM", "ST", "SE", "P", "x", "IMG", "a1b2c3d4e5f6", "_", " ", "-", "é"])
parts = st.lists(words | st.integers(0, 99999).map(lambda n: f"{n:05}"), min_size=1, max_size=3).map("".join)


@st.composite
def exports(draw):
    """Places of an export in which the identities stand, and these."""
    surname = "XQ" + draw(st.text("BCDFGHJKLMNPQRTVWXZ", min_size=4, max_size=8))
    number = draw(st.integers(10**5, 10**8 - 1).map(str))
    born = f"19{draw(st.integers(30, 99))}0{draw(st.integers(1, 9))}1{draw(st.integers(0, 9))}"
    secret = st.sampled_from([surname, surname.lower(), number, f"00{number}", born])
    part = parts | secret | st.tuples(parts, secret, parts).map("".join)
    places = draw(st.sets(st.lists(part, min_size=1, max_size=3).map("/".join), min_size=1, max_size=12))
    folders = {str(parent) for place in places for parent in Path(place).parents}
    ended = [
        place
        for place in sorted(places)
        if place not in folders and place == place.strip() and place[0] != "."
    ]
    return ended, surname, number, born


@settings(max_examples=40, deadline=None)
@given(exports())
def test_every_name_leads_to_its_own_file_and_tells_nobody(export):
    places, surname, number, born = export
    with TemporaryDirectory() as name:
        home = Path(name)
        for place in places:
            (home / "export" / place).parent.mkdir(parents=True, exist_ok=True)
            (home / "export" / place).write_bytes(place.encode())
        (home / "export").mkdir(exist_ok=True)
        rows = "".join(f"P{i}{number},{i}\n" for i in range(len(places)))
        (home / "rhc.csv").write_text(f"id,RAP\n{rows}")
        if not places:
            return
        sheet = read_patients(home / "rhc.csv", 2)
        names = {patient: f"R{i:04}" for i, patient in enumerate(sheet.table.index)}
        files = [SortedFile(p, f"R{i:04}", view="FC", taken=True) for i, p in enumerate(places)]
        headers = [HeaderFacts(identity=Identity(number, f"{surname}^X", born))]
        folder = CohortFolder.of(home / "cohort", home / "export")
        folder.write(sheet, names, files, {}, known_identities(headers, sheet), {}, home / "cache")
        cohort = read_cohort(home / "cohort", 2, "ask", None, home / "cache")
        found = {clip.patient_id: clip.path.read_bytes().decode() for clip in cohort.clips}
        assert found == {file.patient: file.place for file in files}
        for path in (home / "cohort").iterdir():
            data = path.read_text().casefold()
            assert not [secret for secret in (surname.casefold(), number, born) if secret in data]
