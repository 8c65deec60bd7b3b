from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.sorting.facts import ViewTags
from cardio_mlflow.data.sorting.view_tags import ViewFound, load_view_table
from cardio_mlflow.errors import InputError

TABLE = load_view_table()
NAMED = {
    "FC": """A4C;AP4;AP4C;Ap4Ch;A4CH;A-4C;A 4 C;4CH;4C;4 CH;4 chamber;Four-Chamber View;Apical 4C;Apical4Ch
        Apical 4 Chamber;apical four chamber;APICAL 4-CH;AP 4-CH;4CH Apical;A4C LV focused;A4C rest;A4C (2)
        IM_0012_A4C;A4C_02;TTE Adult A4C 2D;apikaler 4-Kammerblick;Apikaler Vierkammerblick;4-Kammer
        4-Kammer-Blick;4KB apikal;Vierkammerblick;Apical 4 cavités;coupe apicale quatre cavités
        apical 4 cámaras;apical cuatro cámaras;4 cámaras apical;apical 4 câmaras;Apicale 4 camere
        apicale vierkamer;apikal fyrkammarvy;koniuszkowa czterojamowa;apikal 4 boşluk
        апикальная четырехкамерная позиция;4-камерная апикальная;心尖四腔心切面;心尖部四腔像;심첨 4방 단면""",
    "TC": """A2C;AP2;AP2CH;2CH;2C;Apical 2 Chamber;apical two-chamber;Apical2Ch;apikaler Zweikammerblick
        2-Kammerblick;apical 2 cavités;apical dos cámaras;apicale 2 camere;апикальная двухкамерная позиция
        心尖两腔心;A2C rest 1""",
    "SA": """PSAX;PSAX2;SAX;short axis;Parasternal Short Axis;parasternal short;PSAX - MV;PSAX_PM
        PSAX apex;SAX-PM;SAX-AP;parasternale kurze Achse
        parasternaler Kurzachsenschnitt;parasternale petit axe;paraesternal eje corto;parasternale asse corto
        parasternale korte as
        парастернальная короткая ось;胸骨旁短轴切面;傍胸骨左縁左室短軸断面""",
    "LA": """PLAX;plax_1;PLAX LV;Parasternal Long Axis;ParasternalLongAxis;parasternal long;LAX parasternal
        parasternale Längsachse;parasternale lange Achse;Parasternal grand axe;Paraesternal eje largo
        paraesternal eixo longo;parasternale asse lungo;parasternale lange as;przymostkowa oś długa
        парастернальная позиция по длинной оси;胸骨旁左室长轴;傍胸骨左室長軸断面;PLAX zoom out""",
    "other": """Subcostal 4 chamber;SC 4C;subxiphoid 4CH;Subcostal short axis;sous-xiphoïdien;剑下四腔
        apical long axis;APLAX;ALAX;Apical 3 Chamber;A3C;3CH;apikaler Dreikammerblick;A5C;AP5;apical 5 chamber
        5-Kammerblick
        A4C RV focused;A4C RV;A4C RV modified;modified A4C;A4C zoom LV;PLAX zoomed AV;PLAX RV inflow;PLAX RVOT
        RV inflow;PLAX ascending aorta;parasternal 4 chamber;IVC;Suprasternal long axis;SSN arch
        right parasternal long axis;TEE 4C;TOE short axis;ME transesophageal 4 chamber;fetal 4CH;3D A4C
        A4C full volume;A4C LVO;A4C LA focused;TG transgastric SAX;PSAX contrast
        PSAX AV level;PSAX (level great vessels);SAX AV;PSAX aortic valve;PSAX RVOT""",
    "": """LA;SA;FC;TC;LAX;long axis;lange Achse;LV;RV;MV;A4;AP 4;Apical;Apical 2;apical 4;parasternal;chamber
        A4C/A2C;apical 2 and 4 chamber;A4C A2C PLAX PSAX;PLAX/PSAX;no A4C;not PLAX;Rest;Peak;Post 2;Stage 2C
        Low dose;Baseline 4;4 CH ECG;liver 4 chamber;Smith 4C;LAD;PLA;PSA;3A4C9F;a4c9;4cm;2 cm;A4 paper;Plaxo
        Echo;TTE complete;Adult Echo;US Heart;Vascular;M-Mode;CW Doppler;biplane;EF 4 2;A4C LA;A4C MV;A2C LA
        PLAX AV;PLAX MV;4CH apical long axis;SAX LAX;AP;AP view;AP 2;Normal;IM_0012;Series 4;Clip 2
        Peak 4 mcg;TDI septal;MR 4 chambers seen;ch 4;channel 2;Abdomen;carotid long axis""",
}  # fmt: skip
SPELLINGS = [
    (spelling.strip(), view) for view, lines in NAMED.items() for spelling in re.split("[;\n]", lines)
]


def find(**tags):
    found = TABLE.find(ViewTags(**tags))
    return found.view if found else ""


def test_there_are_enough_spellings():
    assert sum(view in ("FC", "TC", "SA", "LA") for _, view in SPELLINGS) >= 80
    assert sum(view in ("", "other") for _, view in SPELLINGS) >= 80
    assert len({spelling for spelling, _ in SPELLINGS}) == len(SPELLINGS)


@pytest.mark.parametrize(("spelling", "view"), SPELLINGS)
def test_spellings(spelling, view):
    assert find(view_name=spelling) == view
    assert find(series_description=f"  {spelling.lower()} ") == view or spelling != spelling.lower()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"codes": (("399214001", "SCT", ""),)}, ("FC", "View Code Sequence")),
        ({"codes": (("g-a19c", "SNM3 ", "x"),), "view_name": "PLAX"}, ("FC", "View Code Sequence")),
        ({"codes": (("G-0399", "SRT", ""),)}, ("SA", "View Code Sequence")),
        ({"codes": (("130681", "DCM", ""),)}, ("other", "View Code Sequence")),
        ({"codes": (("399214001", "SCT", "Apical 4CH"), ("1", "99X", "RV focus"))},
         ("other", "View Code Sequence")),
        ({"codes": (("12", "SCPECHO", "Parasternal long axis"),)}, ("LA", "View Code Sequence")),
        ({"codes": (("399214001", "SCT", ""), ("399232001", "SCT", "")), "view_name": "A2C"},
         ("TC", "View Name")),
        ({"codes": (("399214001", "99X", ""),)}, None),
        ({"view_name": "A4C", "stage_name": "A2C"}, ("FC", "View Name")),
        ({"view_name": "A4C/A2C", "series_description": "A2C"}, ("TC", "Series Description")),
        ({"stage_name": "Rest", "protocol_name": "Stress PLAX"}, ("LA", "Protocol Name")),
        ({"stage_name": "2C", "protocol_name": "4CH"}, None),
        ({"stage_name": "SAX PM Rest", "protocol_name": "Adult Echo"}, ("SA", "Stage Name")),
        ({"stage_name": "SAX AV Rest"}, ("other", "Stage Name")),
        ({"view_name": "4CH", "stage_name": "Subcostal"}, ("other", "Stage Name")),
        ({"view_name": "A4C", "protocol_name": "with subcostal"}, ("FC", "View Name")),
        ({"view_name": "A4C", "series_description": "TEE"}, None),
        ({"image_comments": "psax, papillary level"}, ("SA", "Image Comments")),
        ({}, None),
    ],
)  # fmt: skip
def test_the_first_element_that_names_one_view_wins(tags, expected):
    assert TABLE.find(ViewTags(**tags)) == (ViewFound(*expected) if expected else None)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_read(first, second):
    assert find(view_name=first, image_comments=second) in ("", "other", "FC", "TC", "SA", "LA")


HEX = st.text("0123456789abcdef", min_size=5, max_size=40)


@settings(max_examples=300)
@given(st.lists(HEX | HEX.map(str.upper) | st.uuids().map(str) | st.integers(0).map(str), max_size=6),
       st.sampled_from("/_-. "))  # fmt: skip
def test_digests_and_numbers_name_no_view(parts, separator):
    assert find(series_description=separator.join(parts)) == ""


@given(
    st.sampled_from(["A4C", "PLAX", "PSAX", "A2C"]), st.text(string.ascii_letters + string.digits, max_size=5)
)
def test_a_name_within_a_word_is_none(name, rest):
    assert find(view_name=f"Xq{name}{rest}") == ""
    assert find(view_name=f"{name}xq{rest}") == ""


def test_a_users_file_adds_and_wins(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "codes: {PLAX: ['99ACME 7', SCT 399214001]}\nwords:\n  apical 4-chamber: [Spitzenschnitt]\n"
        "views: {A4C: [apical 4-chamber right-ventricle]}\n",
    )
    table = load_view_table(own)
    for tags, view in [
        (ViewTags(codes=(("7", "99acme", ""),)), "LA"),
        (ViewTags(codes=(("399214001", "SCT", ""),)), "LA"),
        (ViewTags(stage_name="SPITZENSCHNITT 3"), "FC"),
        (ViewTags(view_name="A4C RV"), "FC"),
        (ViewTags(view_name="A2C"), "TC"),
    ]:
        assert table.find(tags).view == view


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("views:\n  A4C: [x\n", "line 3: not readable as YAML"),
        ("codes: {A4C: [399214001]}", "line 1: a code is written as scheme and value"),
        ("\nview:\n  A4C: [x]\n", "line 2: no such section: use codes, words"),
        ("views:\n  A6C: [apical]\n", "line 2: no such view"),
        ("words:\n  apical: [two words]\n", "line 2: a spelling is one word"),
        ("views:\n  A4C: apical\n", "line 2: expected a list"),
        ("- A4C\n", "line 1: expected names with a colon"),
        ("? [a]\n: b\n", "line 1: expected a plain name"),
        ("views:\n  A4C:\n    - {a: b}\n", "line 3: expected plain texts"),
        ("views: &a {A4C: [x]}\nalone: *b\n", "line 2: not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("x" * (1 << 21), "too large"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_users_file_is_told_by_line(tmp_path, text, words):
    own = tmp_path / "own.yaml"
    own.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=re.escape(words)):
        load_view_table(own)
    with pytest.raises(InputError, match="cannot be read"):
        load_view_table(tmp_path / "absent.yaml")
