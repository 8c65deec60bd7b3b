from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.labels import read_patients
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity
from cardio_mlflow.data.sorting.id_pairs import normal_id, pair_ids
from cardio_mlflow.data.sorting.matching import days_from_catheterisation, match_patients
from cardio_mlflow.data.sorting.same_person import are_several_persons


@pytest.fixture
def sheet_of(tmp_path):
    def read(*rows, head="patient_id"):
        (tmp_path / "rhc.csv").write_text("\n".join([head, *rows]))
        return read_patients(tmp_path / "rhc.csv", 235)

    return read


def export(**places):
    """Facts of files; each is given its patient id or its whole identity."""
    return [
        (place.replace("__", "/"), HeaderFacts(identity=Identity(who) if isinstance(who, str) else who))
        for place, who in places.items()
    ]


def test_the_header_ids_by_ever_looser_rules(sheet_of):
    sheet = sheet_of("AB 12", "7", "100", "101", "999")
    found = match_patients(
        export(a=" ab 12 ", b="0007", c="MRN0100", d="mrn101", e="555", f="555", g="556", h="7x1", i=""),
        sheet,
    )
    assert found.source == "PatientID"
    assert found.rows == {"a": "AB 12", "b": "7", "c": "100", "d": "101"}
    assert found.unmatched == {"e": "X0001", "f": "X0001", "g": "X0002", "h": "X0003"}
    assert found.notes == (
        "by PatientID 4 of 5 patients (exact 1, leading zeros 1, a prefix of 3 characters 2); "
        "AccessionNumber 0; folder name 0",
        "1 patient of the sheet has no file: row 6",
        "3 patients of the export are not in the sheet (4 files)",
    )


@pytest.mark.parametrize(
    ("export_ids", "sheet_ids", "expected"),
    [
        (["7"], ["7", "007"], {"7": "7"}),  # exact wins
        (["07"], ["7", "007"], {}),  # two rows
        (["7", "07"], ["007"], {}),  # two ids for one row
        (["7", "007"], ["7"], {"7": "7"}),
        (["12^^^HOSP"], ["12"], {"12^^^hosp": "12"}),
        (["12"], ["H-0012"], {"12": "H-0012"}),
        (["P7"], ["P007"], {"p7": "P007"}),
        (["MRN-P-07"], ["P-7"], {"mrn-p-07": "P-7"}),
        (["A12", "B13"], ["12", "13"], {}),  # which hospital is the sheet's?
        (["A12", "A14", "B13"], ["12", "13", "14"], {"a12": "12", "a14": "14"}),
        (["A12"], ["B12"], {}),
        (["AB12"], ["12", "B12"], {}),
        (["12a"], ["12", "12b"], {"12a": "12"}),
        (["112"], ["12"], {}),
        (["1-2"], ["12"], {}),
        (["JANE"], ["ANE"], {}),
        (["12.0"], ["12"], {"12": "12"}),
        (["0"], ["00"], {"0": "00"}),
        ([""], [""], {}),
    ],
)
def test_pairs(export_ids, sheet_ids, expected):
    rows = [(row, normal_id(row)) for row in sheet_ids]
    assert pair_ids([normal_id(each) for each in export_ids], rows).rows == expected


ID = st.from_regex(r"[A-Ca-c]{0,2}[-_ ]?[0-2]{0,4}[-^xX]{0,2}", fullmatch=True).map(normal_id)


def core(key):
    """The number within an id, or the id."""
    number = re.fullmatch(r"\D*(\d(?:.*\d)?)\D*", key)
    return (number[1].lstrip("0") or "0") if number else key


@given(st.sets(ID, max_size=8), st.sets(ID, max_size=8), st.booleans())
def test_never_two_to_one_and_never_another_number(export_ids, sheet_ids, counted):
    found = pair_ids(export_ids, [(key, key) for key in sheet_ids], counted)
    assert len(set(found.rows.values())) == len(found.rows)
    assert found.rows.keys().isdisjoint(found.unclear)
    assert found.rows.keys() <= export_ids
    for key, row in found.rows.items():
        assert core(key) == core(row)
        assert (
            key in row
            or row in key
            or key.replace("0", "") in row.replace("0", "")
            or row.replace("0", "") in key.replace("0", "")
        )
    equal = (export_ids & sheet_ids) - {""}
    assert {key: found.rows.get(key) for key in equal} == {key: key for key in equal}


def test_accession_numbers(sheet_of):
    files = export(a=Identity("X81", accession="0A1"), b=Identity("X82", accession="A2"), c=Identity("X83"))
    sheet = sheet_of("1,A1", "2,a2", "3,", head="patient_id,accession")
    found = match_patients(files, sheet)
    assert (found.source, found.rows) == ("AccessionNumber", {"a": "1", "b": "2"})
    assert match_patients(files, sheet_of("A1", "A2", head="id")).rows == {"a": "A1", "b": "A2"}
    mixed = [*files, *export(d=Identity("X9", accession="A2"))]
    assert match_patients(mixed, sheet).conflicts.keys() == {"b", "d"}


def test_names_of_folders(sheet_of):
    sheet = sheet_of("P1", "P2", "P3")
    found = match_patients(
        export(x__P01__s1__f="u", x__p_2__f="v", x__p_2__g="v", y="u", x__ST003__f="z"), sheet
    )
    assert found.source == "folder name"
    assert found.rows == {"x/P01/s1/f": "P1"}
    assert any("merely counted" in note for note in found.notes)
    assert found.unmatched["x/p_2/f"] == found.unmatched["x/p_2/g"]
    assert match_patients(export(P1__f="u", **{"P2.zip__f": "v"}), sheet).rows == {
        "P1/f": "P1",
        "P2.zip/f": "P2",
    }


def test_counted_folders_are_no_ids(sheet_of):
    sheet = sheet_of("1", "2")
    files = export(DICOM__ST000001__SE000001__a="u", DICOM__ST000002__SE000001__a="v")
    assert match_patients(files, sheet).rows == {}
    twice = export(**{"1__a": "u", "2__a": "u"})
    assert match_patients(twice, sheet).conflicts.keys() == {"1/a", "2/a"}
    same = sheet_of("1,Q", "2,Q", head="patient_id,person")
    assert match_patients(twice, same).rows == {"1/a": "1", "2/a": "2"}


def test_the_column_of_persons(sheet_of):
    assert list(sheet_of("R1,00123", head="record,mrn").table.index) == ["00123"]
    found = match_patients(export(a="123"), sheet_of("1,123", "2,124", head="patient_id,person"))
    assert found.rows == {"a": "1"}
    assert "by PatientID (the column person) 1 of 2 patients" in found.notes[0]


def test_two_persons_under_one_id(sheet_of):
    files = export(a=Identity("7", "ROE^JANE", "19500101"), b=Identity("07", "ROE^JANE", "19500101"),
                   c=Identity("8", "DOE^JO", "19600202"), d=Identity("8", "DOE^JO", "19610202"))  # fmt: skip
    found = match_patients(files, sheet_of("7", "8"))
    assert (found.rows, found.unmatched) == ({"a": "7"}, {"b": "X0001"})
    assert found.conflicts == dict.fromkeys("cd", "two persons stand under one PatientID, of row 3")
    told = " ".join([*found.notes, *found.conflicts.values()])
    assert "1 patient is left out, because files of two persons stand under one PatientID: row 3" in told
    assert not re.search("roe|doe|1950|1961", told, re.IGNORECASE)


@pytest.mark.parametrize(
    ("first", "second", "several"),
    [
        (Identity(sex="M"), Identity(sex="F"), True),
        (Identity(sex="M"), Identity(sex="O"), False),
        (Identity(birth_date="19500101"), Identity(), False),
        (Identity(name="A^B", birth_date="19500101"), Identity(name="C^D", birth_date="19500101"), False),
        (Identity(birth_date="19000101"), Identity(birth_date="19610202"), False),
        (Identity(name="Müller^Eva"), Identity(name="MÜLLER^EVA^^DR"), False),
        (Identity(name="A^B"), Identity(name="A^C"), True),
    ],
)
def test_persons(first, second, several):
    assert are_several_persons([first, second, first]) is several


PLACES = st.lists(st.sampled_from(["a", "b/1", "b/2", "P1/x", "P01/x", "ST1/x", "2/x/y"]), unique=True)


@given(PLACES, st.data())
def test_every_file_has_one_fate_and_no_id_is_told(tmp_path_factory, places, data):
    folder = tmp_path_factory.getbasetemp() / "sheet.csv"
    ids = data.draw(st.lists(ID.filter(bool), min_size=1, max_size=5, unique=True))
    folder.write_text("patient_id,RAP\n" + "".join(f'"{each}",5\n' for each in ids))
    sheet = read_patients(folder, 5)
    birth = st.sampled_from(["", "19500505", "19510505"])
    identity = st.builds(Identity, ID, st.sampled_from(["", "Zoe^Q"]), birth, accession=ID)
    files = [(place, HeaderFacts(identity=data.draw(identity))) for place in places]
    found = match_patients(files, sheet)
    fates = [*found.rows, *found.unmatched, *found.conflicts]
    assert len(fates) == len(set(fates))
    assert set(fates) <= set(places)
    assert set(found.rows.values()) <= set(sheet.table.index)
    assert not re.search("zoe|195", " ".join([*found.notes, *found.conflicts.values()]).lower())


def test_days_from_catheterisation():
    day = datetime.date(2018, 5, 12)
    assert days_from_catheterisation("20180501", day) == -11
    assert [
        days_from_catheterisation(moment, day) for moment in ("", "2018", "20181340000000", "0" * 14)
    ] == [None] * 4
    assert days_from_catheterisation("20180512000000", None) is None
