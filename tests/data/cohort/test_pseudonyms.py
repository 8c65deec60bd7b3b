import hmac
import os
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort import pseudonyms as module
from cardio_mlflow.data.cohort.pseudonyms import (
    keep_mapping,
    key_name,
    mapping_file,
    pseudonym,
    pseudonyms,
    read_key,
)
from cardio_mlflow.errors import InputError

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def mode(path):
    return path.stat().st_mode & 0o777


def test_golden_pseudonyms_by_another_route():
    number = int(hmac.new(KEY, b"P001", "sha256").hexdigest(), 16)
    letters = "23456789BCDFGHJKMNPQRSTVWXYZ"
    expected = "S" + "".join(letters[number // 28**i % 28] for i in range(12))
    assert pseudonym(KEY, "P001") == expected == "SBGW3F49BCBR7"


@given(IDS)
def test_a_pseudonym_is_a_plain_word_that_only_the_key_and_the_id_change(patient):
    name = pseudonym(KEY, patient)
    assert re.fullmatch("S[2-9B-DF-HJ-KMNP-TV-Z]{12}", name)
    assert name == pseudonym(KEY, patient)
    assert name != pseudonym(OTHER, patient)
    assert name != pseudonym(KEY, f"{patient}x")


@given(IDS)
def test_composed_and_decomposed_letters_are_the_same_id(patient):
    forms = {pseudonym(KEY, unicodedata.normalize(form, patient)) for form in ("NFC", "NFD")}
    assert len(forms) == 1


def test_a_number_from_a_spreadsheet_is_the_same_id():
    assert pseudonym(KEY, "12.0") == pseudonym(KEY, " 12") == pseudonym(KEY, "12")
    assert pseudonym(KEY, "012") != pseudonym(KEY, "12")


def test_a_collision_is_refused(monkeypatch):
    assert len(set(pseudonyms(KEY, [f"P{i}" for i in range(2000)]).values())) == 2000
    monkeypatch.setattr(module, "pseudonym", lambda key, patient: "S2")
    with pytest.raises(InputError, match="same pseudonym") as error:
        pseudonyms(KEY, ["Roe", "Doe"])
    assert "Roe" not in str(error.value)


def test_a_key_is_made_once_for_the_user_alone(tmp_path):
    path = tmp_path / "private" / "pseudonym.key"
    previous = os.umask(0)
    try:
        key = read_key(path, [])
    finally:
        os.umask(previous)
    assert len(key) == 32
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert path.read_text().strip() == key.hex()
    assert read_key(path, []) == key
    assert read_key(tmp_path / "other.key", []) != key


def test_processes_that_start_together_get_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: read_key(tmp_path / "k" / "pseudonym.key", []), range(16)))
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("content", "permissions", "expected"),
    [("00" * 32, 0o640, "chmod 600"), ("00" * 32, 0o602, "chmod 600"),
     ("00" * 31, 0o600, "no pseudonym key"), ("secret word " * 8, 0o600, "no pseudonym key"),
     ("0" * 65, 0o600, "no pseudonym key"), ("", 0o600, "no pseudonym key")],
)  # fmt: skip
def test_a_key_that_is_open_or_too_short_is_refused(tmp_path, content, permissions, expected):
    path = tmp_path / "pseudonym.key"
    path.write_text(content)
    path.chmod(permissions)
    with pytest.raises(InputError, match=expected) as error:
        read_key(path, [])
    assert not content or content[:10] not in str(error.value)
    assert path.read_text() == content


@pytest.mark.parametrize("place", ["cache", "cache/deep", "link", "mlruns/0", "x/mlartifacts"])
def test_a_key_in_a_folder_that_is_handed_on_is_refused(tmp_path, place):
    (tmp_path / "cache").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    with pytest.raises(InputError, match="handed on"):
        read_key(tmp_path / place / "pseudonym.key", [tmp_path / "cache"])
    assert not (tmp_path / place / "pseudonym.key").exists()


def test_a_folder_is_no_key_and_an_unwritable_place_is_told(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_key(tmp_path, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be read or made"):
        read_key(tmp_path / "file" / "pseudonym.key", [])


def test_the_mapping_grows_over_cohorts_beside_the_key(tmp_path):
    key_file = tmp_path / "pseudonym.key"
    keep_mapping(key_file, pseudonyms(KEY, ["P1", 'Roe, "J"']))
    keep_mapping(key_file, pseudonyms(KEY, ["P1", "P2"]))
    path = mapping_file(key_file)
    path.chmod(0o644)
    keep_mapping(key_file, {})  # closes it again
    table = pd.read_csv(path, dtype=str).set_index("patient_id")["pseudonym"]
    assert table.to_dict() == pseudonyms(KEY, ["P1", "P2", 'Roe, "J"'])
    assert mode(path) == 0o600
    assert {p.name for p in tmp_path.iterdir()} - {".pseudonym.key.lock"} == {path.name}


@pytest.mark.parametrize(
    ("names", "expected"), [({"Roe": "S9"}, "another key"), ({"Doe": "S2"}, "one pseudonym to two")]
)
def test_a_mapping_of_another_key_is_refused_and_kept(tmp_path, names, expected):
    key_file = tmp_path / "pseudonym.key"
    keep_mapping(key_file, {"Roe": "S2"})
    before = mapping_file(key_file).read_bytes()
    with pytest.raises(InputError, match=expected) as error:
        keep_mapping(key_file, names)
    assert mapping_file(key_file).read_bytes() == before
    assert "oe" not in str(error.value).replace(str(tmp_path), "").replace("does", "")
    mapping_file(key_file).write_text("something else\n")
    with pytest.raises(InputError, match="no table of patient_id"):
        keep_mapping(key_file, names)


def test_a_keys_name_tells_keys_apart():
    assert key_name(KEY) == key_name(KEY) != key_name(OTHER)
    assert re.fullmatch("[0-9a-f]{8}", key_name(KEY))
    assert not KEY.hex().startswith(key_name(KEY))


def test_a_lost_key_is_not_replaced_beside_its_table(tmp_path):
    place = tmp_path / "private" / "pseudonym.key"
    keep_mapping(place, pseudonyms(read_key(place, ()), ["P1"]))
    place.unlink()
    with pytest.raises(InputError, match="is gone"):
        read_key(place, ())
    assert not place.exists()
