"""Pages of predicted patients: complete, self-contained, safe against hostile text, fit for any window."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.quality import ClipReview
from cardio_mlflow.parameters import PARAMETERS, VIEWS
from cardio_mlflow.report.cycle_strip import ClipShown, cycle_drawing, strip_source
from cardio_mlflow.report.patient_index import write_index_page
from cardio_mlflow.report.patient_page import ModelShown, PatientPage, clip_facts, write_patient_page
from cardio_mlflow.report.value_bars import SPAN, WIDTH, value_bar
from tests.browser import browse, images_and_excess, needs_browser

HOSTILE = "</style><script>document.title='x'</script><img src=x onerror=alert(1)>{{ 7*7 }}&\"'"
MODEL = ModelShown("cardio-hemodynamics version 3", 0.9, ["Learned from a synthetic cohort."])
NUMBERS = st.floats(-1e4, 1e4) | st.just(math.nan)


def answers(name: str, factor: float = 1.2, flags: str = "", notes: str = "A2C: missing") -> pd.DataFrame:
    """A patient's rows as the model gives them, each value at this share of its cut-off."""
    rows = [
        (name, of.key, of.unit, factor * of.cutoff, 0.6 * factor * of.cutoff, 1.5 * factor * of.cutoff,
         of.is_abnormal(factor * of.cutoff), 0.83, bool(flags), flags, notes)
        for of in PARAMETERS
    ]  # fmt: skip
    names = ("patient", "parameter", "unit", "prediction", "lower", "upper", "abnormal", "ph_probability",
             "unfamiliar", "flags", "notes")  # fmt: skip
    return pd.DataFrame(rows, columns=list(names))


REVIEW = ClipReview(
    ecg_s=tuple(np.arange(0, 2, 0.008)),
    ecg=tuple(0.5 + 0.4 * np.sin(np.arange(0, 2, 0.008) * 9)),
    r_waves_s=(0.2, 0.9, 1.6),
    cycle_s=(0.9, 1.6),
    duration_s=2.0,
)


def shown() -> list[ClipShown]:
    frames = np.random.default_rng(3).integers(0, 256, (32, 224, 224), dtype=np.uint8)
    first = ClipShown(
        "A4C", "apical four-chamber", "facts", strip_source(frames), cycle_drawing(REVIEW), "8 of 32"
    )
    return [first, *(ClipShown(view.name, view.meaning, "no clip") for view in VIEWS[1:])]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "patients" / "1.html"
    table = answers(HOSTILE, flags=f"A4C: does not move; {HOSTILE}", notes=HOSTILE)
    write_patient_page(path, PatientPage(HOSTILE, 1, table, shown(), MODEL, "1-explained.html"))
    return path


def test_the_page_says_everything_in_words(page):
    text = re.sub(r"<svg.*?</svg>", "", page.read_text("utf-8"))
    for of in PARAMETERS:
        assert of.meaning in text
    assert "24 mmHg" in text
    assert "14 to 36" in text
    assert "≤ 20" in text
    assert "Probability of pulmonary hypertension (meanPAP &gt; 20 mmHg): 0.83" in text
    assert "A4C: does not move" in text
    assert "research only" in text
    assert "Learned from a synthetic cohort." in text
    assert text.count("<td>abnormal") == sum(of.abnormal == "above" for of in PARAMETERS)


@needs_browser
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_hostile_runs_and_nothing_is_cut_off(page, tmp_path, width):
    seen, wide = images_and_excess(page, tmp_path, width)
    assert seen == 1
    assert wide <= 0
    said = browse(page, tmp_path)
    assert "<title>x</title>" not in said.stdout
    assert "49" not in re.sub(
        r"<svg.*?</svg>|data:[^\"]+|<style>.*?</style>", "", said.stdout, flags=re.DOTALL
    )
    assert "Refused" not in said.stderr


def test_the_same_patient_makes_the_same_bytes(page, tmp_path):
    table = answers(HOSTILE, flags=f"A4C: does not move; {HOSTILE}", notes=HOSTILE)
    write_patient_page(
        tmp_path / "2.html", PatientPage(HOSTILE, 1, table, shown(), MODEL, "1-explained.html")
    )
    assert (tmp_path / "2.html").read_bytes() == page.read_bytes()


@given(of=st.sampled_from(PARAMETERS), value=NUMBERS, lower=NUMBERS, upper=NUMBERS)
def test_a_bar_is_drawn_within_its_box_whatever_the_numbers(of, value, lower, upper):
    drawn = ET.fromstring(value_bar(of, value, lower, upper))
    places = [float(part.get(name)) for part in drawn for name in ("x", "x1", "x2", "cx") if part.get(name)]
    assert all(0 <= place <= WIDTH for place in places)
    assert len(drawn.findall("circle")) == (not math.isnan(value))


def test_the_dot_of_a_value_at_its_cut_off_lies_on_the_line_and_normal_is_on_the_right_side():
    for of in PARAMETERS:
        drawn = ET.fromstring(value_bar(of, of.cutoff, 0.5 * of.cutoff, 3 * of.cutoff))
        cut = float(drawn.find("line[@class='cut']").get("x1"))
        assert cut == pytest.approx(WIDTH / SPAN)
        assert float(drawn.find("circle").get("cx")) == cut
        assert drawn.find("path") is not None, "the interval goes on beyond the bar"
        assert float(drawn.find("rect[@class='normal']").get("x")) == (0 if of.abnormal == "above" else cut)


@given(
    start=st.floats(0, 2), length=st.floats(0.1, 2), duration=st.floats(0, 4),
    times=st.lists(st.floats(-1, 5), max_size=5),
)  # fmt: skip
def test_any_cycle_is_drawn_within_the_clip(start, length, duration, times):
    review = ClipReview(r_waves_s=tuple(times), cycle_s=(start, start + length), duration_s=duration)
    drawn = cycle_drawing(review)
    if duration:
        for part in ET.fromstring(drawn):
            left = float(part.get("x") or part.get("x1"))
            assert 0 <= left <= left + float(part.get("width") or 0) <= 1000.1


def test_a_cycle_put_together_of_two_parts_is_drawn_as_both():
    review = ClipReview(cycle_s=(1.0, 2.0), duration_s=1.6)
    spans = [
        (float(part.get("x")) / 1000 * 1.6, float(part.get("width")) / 1000 * 1.6)
        for part in ET.fromstring(cycle_drawing(review))
    ]
    assert spans == [pytest.approx((1.0, 0.6), abs=1e-3), pytest.approx((0.6, 0.4), abs=1e-3)]


def test_what_became_of_a_clip_in_words():
    row = {"outcome": "NO_SECTOR", "message": "nothing moves", "review": "", "notes": ""}
    assert clip_facts(row, VIEWS[0]).facts == "Refused: no sector found (NO_SECTOR). nothing moves"
    row = {"outcome": "OK", "message": "", "review": "text duplicate", "notes": "bent; more", "rr_ms": 800.0,
           "depth_cm": 12.25, "gating": "image_period", "phase_verified": False}  # fmt: skip
    found = clip_facts(row, VIEWS[0])
    assert found.facts == (
        "cycle found by: image period · 800 ms (75/min) · phase not verified · 12.2 cm deep"
    )
    assert found.remarks == "text; duplicate; bent; more"


def test_the_index_has_whoever_is_flagged_first_and_links_that_lead_somewhere(tmp_path):
    names = ["a b", "P#2", "é%"]
    table = pd.concat([answers("a b", 0.7), answers("P#2", flags="PSAX: black"), answers("é%", math.nan)])
    pages = {name: f"patients/000{i}-{name}.html" for i, name in enumerate(names, 1)}
    write_index_page(tmp_path / "index.html", table, pages, MODEL, "3 patients.")
    text = (tmp_path / "index.html").read_text("utf-8")
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', text)
    assert links == [("patients/0002-P%232.html", "P#2"), ("patients/0001-a%20b.html", "a b"),
                     ("patients/0003-%C3%A9%25.html", "é%")]  # fmt: skip
    assert text.count('class="out"') == 2 + sum(of.abnormal == "above" for of in PARAMETERS)
