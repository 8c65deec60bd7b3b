"""The review page: its data, its pictures, its policy, and ids that would break out of it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry
from cardio_mlflow.data.quality import QUALITY_COLUMNS, ClipReview, Quality
from cardio_mlflow.data.review.page import SHOWN_COLUMNS, Shown, plain, sampled_ecg, write_review_page
from cardio_mlflow.data.review.pictures import write_films

HOSTILE = "</script><img src=x onerror=alert(1)>$data&\"'"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
REVIEW = ClipReview(
    ((112.0, 0.0), (224.0, 112.04), (0.0, 112.0)),
    (0.0, 1.0, 2.0),
    (0.0, 1.0, 0.0),
    (0.5, 1.5),
    (0.5, 1.5),
    2.0,
)


@pytest.fixture
def cohort(tmp_path):
    """Clips of two patients in a store, their films beside the page; a third whose only clip was refused."""
    store, frames = ClipStore(tmp_path / "store", 1e12), np.random.default_rng(1)
    keys = {("P1", "FC"): "a" * 32, ("P1", "TC"): "b" * 32, (HOSTILE, "FC"): "c" * 32}
    for key in keys.values():
        clip = frames.integers(0, 200, (32, 224, 224)).astype(np.uint8)
        store.write(key, Entry(Quality(), pixels=key), clip)
    write_films(store, keys.values(), tmp_path / "review", jobs=2)
    shown = {place: Shown(ClipReview(), f"review/{key}.webp") for place, key in keys.items()}
    shown["P1", "FC"] = replace(shown["P1", "FC"], review=REVIEW)
    shown["P1", "SA"] = Shown(ClipReview(), None)  # prepared, but its picture is not to be seen
    shown["P1", "LA"] = Shown(REVIEW, "review/refused.webp")  # of a refused clip nothing is shown
    rows = [
        {"patient_id": "P1", "view": "FC", "outcome": "OK", "rr_ms": 812.5, "frames": 48.0,
         "gating": "ecg_trace", "phase_verified": True, "manufacturer": "GE",
         "notes": "decimal commas; r_waves <off>"},
        {"patient_id": "P1", "view": "TC", "outcome": "OK", "gating": "periodicity", "phase_verified": False,
         "manufacturer": "GE", "review": "low_fit text"},
        {"patient_id": "P1", "view": "SA", "outcome": "OK"},
        {"patient_id": "P1", "view": "LA", "outcome": "NO_SECTOR", "message": "no <fan> & nothing"},
        {"patient_id": HOSTILE, "view": "FC", "outcome": "OK", "gating": "tags"},
        {"patient_id": "P3", "view": "LA", "outcome": "TRUNCATED", "message": "cut after 3 of 9 frames"},
    ]  # fmt: skip
    quality = pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))
    return tmp_path, quality, shown


def _write(folder, quality, shown, **options):
    write_review_page(folder / "review.html", quality, shown, **options)
    return folder / "review.html"


def _embedded(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )


def test_the_page_knows_every_clip(cohort):
    folder, quality, shown = cohort
    data = _embedded(_write(folder, quality, shown).read_text("utf-8"))
    assert data["patients"] == ["P1", HOSTILE, "P3"]
    assert data["columns"] == list(SHOWN_COLUMNS)
    assert [clip[:2] for clip in data["clips"]] == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [2, 3]]
    values = dict(zip(data["columns"], data["clips"][0][2], strict=True))
    assert (values["rr_ms"], values["frames"], values["phase_verified"]) == (812.5, 48, True)
    assert values["fit_score"] is values["review"] is None
    drawing = data["clips"][0][4]
    assert drawing["outline"] == [112, 0, 224, 112, 0, 112]
    assert (drawing["r"], drawing["cycle"], drawing["duration"]) == ([0.5, 1.5], [0.5, 1.5], 2)
    levels = list(base64.b64decode(drawing["ecg"]))
    assert (levels[0], max(levels), levels[-1], len(levels)) == (1, 254, 1, 250)
    assert data["words"]["TRUNCATED"] == "file cut short"


def test_only_prepared_clips_get_a_picture_or_a_drawing(cohort):
    folder, quality, shown = cohort
    data = _embedded(_write(folder, quality, shown).read_text("utf-8"))
    pictures = [clip[3] for clip in data["clips"]]
    written = sorted(f"review/{path.name}" for path in (folder / "review").iterdir())
    assert sorted(filter(None, pictures)) == written
    assert [picture is None for picture in pictures] == [False, False, True, True, False, True]
    assert [clip[4] is None for clip in data["clips"]] == [False, False, False, True, False, True]
    assert all(re.fullmatch(r"review/[A-Za-z0-9_-]+\.webp", name) for name in written)


def test_nothing_of_an_id_is_taken_for_markup(cohort):
    folder, quality, shown = cohort
    text = _write(folder, quality, shown).read_text("utf-8")
    assert HOSTILE not in text
    assert "<img" not in text.split('<script>"use strict"')[0]
    assert text.count("</script>") == 2
    assert "<fan>" not in text
    assert HOSTILE in _embedded(text)["patients"]


def test_the_policy_allows_only_what_stands_in_the_page(cohort):
    folder, quality, shown = cohort
    text = _write(folder, quality, shown).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    outside = set(re.findall(r"https?://[^\s\"'<]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not outside
    markup = text.replace(html.escape(HOSTILE), "")
    for way in (r"<\w[^>]*\son\w+=", "innerHTML", "insertAdjacentHTML", r"document\.write", r"eval\("):
        assert not re.search(way, markup)


def test_lines_and_keys_are_explained(cohort):
    folder, quality, shown = cohort
    text = _write(folder, quality, shown).read_text("utf-8")
    legend = text.split('aria-label="Legend">')[1].split("</ul>")[0]
    for word in ("sector", "ECG", "R wave", "cycle", "phase"):
        assert word in legend
    keys = set(re.findall(r"<kbd>([^<]+)</kbd>", text.split('aria-label="Keys">')[1].split("</ul>")[0]))
    pressed = text.split("function pressed(event)")[1].split("\n}")[0]
    handled = set(re.findall(r'event\.key === "([^"]+)"', pressed)) | {"j", "k"}
    assert {"space" if key == " " else key for key in handled} | {"←", "→"} == keys


def _shown(page, folder, script=""):
    """The page as a browser builds it, after a script of the test's own."""
    if script:
        text = page.read_text("utf-8")
        page = page.with_name("driven.html")
        policy = re.compile(r"script-src 'sha256-[^']+'")
        text = policy.sub("script-src 'unsafe-inline'", text).replace(
            "start();\n</script>", f"start();{script}</script>"
        )
        page.write_text(text, "utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=500", "--dump-dom")
    command = [BROWSER, *options, f"--user-data-dir={folder / 'browser'}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_every_clip_and_no_foreign_markup(cohort, tmp_path):
    folder, quality, shown = cohort
    seen = _shown(_write(folder, quality, shown), tmp_path)
    main = seen.split('<main id="clips"')[1].split("</main>")[0]
    assert len(re.findall(r'<article class="clip', main)) == 6
    assert html.escape(HOSTILE, quote=False) in main
    assert main.count("<img ") == len(re.findall(r'<img src="review/[\w-]+\.webp"', main)) == 3
    assert "3 of 3 patients, 6 of 6 clips" in seen
    assert "no &lt;fan&gt; &amp; nothing" in main
    assert '<polygon points="112 0 224 112 0 112">' in main
    assert 'class="r" x1="25" x2="25"' in main
    assert '<li class="notes">decimal commas; r_waves &lt;off&gt;</li>' in main


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize(("cycle", "parts"), [((0.5, 1.5), 1), ((1.2, 2.2), 2)])
def test_a_cycle_that_reaches_beyond_the_clip_is_marked_in_two_parts(cohort, tmp_path, cycle, parts):
    folder, quality, shown = cohort
    shown["P1", "FC"] = replace(shown["P1", "FC"], review=replace(REVIEW, cycle_s=cycle))
    seen = _shown(_write(folder, quality, shown), tmp_path)
    assert seen.split('<main id="clips"')[1].split("</main>")[0].count('<div class="cycle"') == parts


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("outcome", "refused", "2 of 3 patients, 2 of 6 clips"),
        ("outcome", "NO_SECTOR", "1 of 3 patients, 1 of 6 clips"),
        ("outcome", "missing", "2 of 3 patients, 0 of 6 clips"),
        ("flags", "any flag", "1 of 3 patients, 1 of 6 clips"),
        ("flags", "low_fit", "1 of 3 patients, 1 of 6 clips"),
        ("flags", "no phase", "2 of 3 patients, 3 of 6 clips"),
        ("rung", "tags", "1 of 3 patients, 1 of 6 clips"),
        ("view", "0", "2 of 3 patients, 2 of 6 clips"),
        ("search", "p3", "1 of 3 patients, 1 of 6 clips"),
    ],
)
def test_a_filter_shows_what_it_says(cohort, tmp_path, name, value, count):
    folder, quality, shown = cohort
    page = _write(folder, quality, shown)
    seen = _shown(page, tmp_path, f"get('{name}').value = {value!r}; fresh();")
    assert count == re.search(r'<output id="count"[^>]*>([^<]*)<', seen)[1]
    assert re.search(r'<button id="reset" type="button">', seen)


def test_the_head_counts(cohort):
    folder, quality, shown = cohort
    text = _write(folder, quality, shown).read_text("utf-8")
    assert "3 patients · 6 clips · 4 prepared · 2 refused · 1 to review · 4 without a true scale" in text
    outcomes = text.split("<caption>Outcome</caption>")[1].split("</table>")[0]
    assert re.findall(r"<code>(\w+)</code>.*?<td>(\d+)</td>", outcomes) == [
        ("OK", "4"), ("NO_SECTOR", "1"), ("TRUNCATED", "1"),
    ]  # fmt: skip
    makers = text.split("<caption>Manufacturer</caption>")[1].split("</table>")[0]
    assert re.findall(r'"row">([^<]+)</th><td>(\d+)', makers) == [("GE", "2"), ("none", "2")]
    gating = text.split("<caption>Gating</caption>")[1].split("</table>")[0]
    assert "ecg trace" in gating


def test_synthetic_data_are_called_so(cohort):
    folder, quality, shown = cohort
    assert "Synthetic data" not in _write(folder, quality, shown).read_text("utf-8")
    page = _write(folder, quality, shown, synthetic=True).read_text("utf-8")
    assert "<strong>Synthetic data.</strong>" in page


def test_a_table_read_back_makes_the_same_page(cohort):
    folder, quality, shown = cohort
    first = _write(folder, quality, shown).read_bytes()
    quality.to_csv(folder / "quality.csv", index=False)
    again = pd.read_csv(folder / "quality.csv")
    assert _write(folder, again, shown).read_bytes() == first


def test_cells_become_plain_values():
    assert plain(np.float64(2.50)) == 2.5
    assert plain(np.int64(3)) == 3
    assert plain(np.bool_(True)) is True
    assert plain(float("inf")) is plain("") is plain(pd.NA) is plain(None) is None


BEATS = ClipReview((), (0.0, 0.5, 1.0, 1.5, 2.0), (0.0, 1.0, 0.0, 1.0, 0.0), (), (0.0, 1.0), 2.0)


def test_the_ecg_is_sampled_over_the_whole_clip():
    assert sampled_ecg(BEATS, 5).tolist() == [1, 255, 1, 255, 1]
    late = ClipReview((), (1.0, 1.1, 1.2), (0.0, 0.5, 1.0), (), (0.0, 1.0), 2.0)
    assert sampled_ecg(late, 21).nonzero()[0].tolist() == [10, 11, 12]
    assert not sampled_ecg(ClipReview((), (), (), (0.1,), (0.0, 1.0), 2.0), 9).any()
    assert not sampled_ecg(ClipReview(), 9).any()


def test_a_stretch_that_nobody_read_stays_empty():
    times = tuple(t / 100 for t in range(201) if not 80 < t < 120)
    levels = sampled_ecg(ClipReview((), times, (0.5,) * len(times), (), (0.0, 1.0), 2.0), 201)
    assert set(np.flatnonzero(levels == 0)) == set(range(81, 120))
