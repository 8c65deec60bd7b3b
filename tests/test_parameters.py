from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.parameters import (
    KEYS,
    PARAMETERS,
    PULMONARY_HYPERTENSION,
    VIEW_CODES,
    VIEWS,
    is_parameter,
    is_view,
    normalise_name,
    parameter,
    view,
)

DESIGN_TABLE = [
    ("RAP", "mmHg", (5, 95), False, "> 8 mmHg"),
    ("SPAP", "mmHg", (5, 95), False, "> 40 mmHg"),
    ("dPAP", "mmHg", (5, 95), False, "> 15 mmHg"),
    ("meanPAP", "mmHg", (5, 95), False, "> 20 mmHg"),
    ("PCWP", "mmHg", (5, 95), False, "> 15 mmHg"),
    ("CO", "L/min", (2, 98), False, "< 4 L/min"),
    ("CI", "L/min/m²", (2, 98), False, "< 2.5 L/min/m²"),
    ("SVRI", "dyn·s·cm⁻⁵·m²", (1, 99), True, "> 2400 dyn·s·cm⁻⁵·m²"),
    ("PVR", "Wood units", (1, 99), True, "> 2 Wood units"),
]


def test_the_table_is_the_designs():
    rows = [(p.key, p.unit, p.winsor, p.log, p.criterion) for p in PARAMETERS]
    assert rows == DESIGN_TABLE
    assert tuple(row[0] for row in DESIGN_TABLE) == KEYS


@pytest.mark.parametrize("p", PARAMETERS, ids=KEYS)
def test_a_value_at_the_cutoff_is_normal(p):
    beyond = math.inf if p.abnormal == "above" else -math.inf
    assert not p.is_abnormal(p.cutoff)
    assert p.is_abnormal(math.nextafter(p.cutoff, beyond))
    assert not p.is_abnormal(math.nextafter(p.cutoff, -beyond))
    assert not p.is_abnormal(math.nan)


@pytest.mark.parametrize("p", PARAMETERS, ids=KEYS)
def test_the_cutoff_is_plausible_and_a_logarithm_exists(p):
    low, high = p.plausible
    assert low < p.cutoff < high
    assert low > 0 or not p.log


def test_pulmonary_hypertension_is_mean_pap_above_20():
    assert PULMONARY_HYPERTENSION.key == "meanPAP"
    assert PULMONARY_HYPERTENSION.is_abnormal(20.5)
    assert not PULMONARY_HYPERTENSION.is_abnormal(20)


def test_the_views_are_the_designs():
    assert [(v.code, v.name) for v in VIEWS] == [
        ("FC", "A4C"), ("TC", "A2C"), ("SA", "PSAX"), ("LA", "PLAX"),
    ]  # fmt: skip
    assert VIEW_CODES == ("FC", "TC", "SA", "LA")


@pytest.mark.parametrize(
    ("name", "key"),
    [("mPAP", "meanPAP"), ("dpap", "dPAP"), ("mean PAP", "meanPAP"), ("MEANPAP", "meanPAP"),
     ("PAWP", "PCWP"), ("sPAP [mmHg]", "SPAP"), ("co (L/min)", "CO"), ("P.V.R.", "PVR")],
)  # fmt: skip
def test_parameter_aliases(name, key):
    assert parameter(name).key == key
    assert is_parameter(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [("A4C", "FC"), ("4ch", "FC"), ("a2c", "TC"), ("psax", "SA"), ("PLAX", "LA"), ("la", "LA")],
)
def test_view_aliases(name, code):
    assert view(name).code == code
    assert is_view(name)


@pytest.mark.parametrize("find", [parameter, view])
@pytest.mark.parametrize("name", ["", "heart rate", "subcostal", "PAP"])
def test_an_unknown_name_is_a_key_error(find, name):
    with pytest.raises(KeyError):
        find(name)


@pytest.mark.parametrize(
    "names", [[(p.key, *p.aliases) for p in PARAMETERS], [(v.code, v.name, *v.aliases) for v in VIEWS]]
)
def test_no_two_entries_share_a_name(names):
    owners: dict[str, int] = {}
    for number, own in enumerate(names):
        for name in map(normalise_name, own):
            assert name
            assert owners.setdefault(name, number) == number


@given(st.sampled_from(PARAMETERS), st.data())
def test_case_spaces_and_units_in_brackets_do_not_matter(p, data):
    name = data.draw(st.sampled_from([p.key, *p.aliases]))
    spaced = data.draw(st.sampled_from([" ", "_", "-", "."])).join(name)
    cased = data.draw(st.sampled_from([str.upper, str.lower, str.title]))(spaced)
    assert parameter(f" {cased} ({p.unit})") is p


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normalise_name(normalise_name(text)) == normalise_name(text)
