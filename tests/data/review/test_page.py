"""The review page: its data, its pictures, its policy, and ids that would break out of it."""

import base64
import hashlib
import html
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry
from cardio_mlflow.data.quality import QUALITY_COLUMNS, ClipReview, Quality
from cardio_mlflow.data.review.ecg_line import sampled_ecg
from cardio_mlflow.data.review.page import SHOWN_COLUMNS, Shown, plain, write_review_page
from cardio_mlflow.data.review.pictures import write_films
from tests.browser import browse, needs_browser

HOSTILE = "</script><img src=x onerror=alert(1)>$data&{{ data }}\"'"
TRIANGLE = ((112.0, 0.0), (224.0, 112.04), (0.0, 112.0))
REVIEW = ClipReview(TRIANGLE, (0.0, 1.0, 2.0), (0.0, 1.0, 0.0), (0.5, 1.5), (0.5, 1.5), 2.0)


@pytest.fixture
def cohort(tmp_path):
    """Clips of two patients in a store, their films beside the page; a third whose only clip was refused."""
    store, frames = ClipStore(tmp_path / "store", 1e12), np.random.default_rng(1)
    keys = {("P1", "FC"): "a" * 32, ("P1", "TC"): "b" * 32, (HOSTILE, "FC"): "c" * 32}
    for key in keys.values():
        store.write(
            key, Entry(Quality(), pixels=key), frames.integers(0, 200, (32, 224, 224)).astype(np.uint8)
        )
    write_films(store, keys.values(), tmp_path / "review", jobs=2)
    shown = {place: Shown(ClipReview(), f"review/{key}.webp") for place, key in keys.items()}
    shown["P1", "FC"] = replace(shown["P1", "FC"], review=REVIEW)
    shown["P1", "TC"] = replace(shown["P1", "TC"], review=replace(REVIEW, outline=(), cycle_s=(1.2, 2.2)))
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
    return tmp_path / "review.html", pd.DataFrame(rows, columns=list(QUALITY_COLUMNS)), shown


@pytest.fixture
def page(cohort):
    """The page's text."""
    write_review_page(*cohort)
    return cohort[0].read_text("utf-8")


def _embedded(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )


def test_the_page_knows_every_clip(page):
    data = _embedded(page)
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


def test_only_prepared_clips_get_a_picture_or_a_drawing(cohort, page):
    data = _embedded(page)
    pictures = [clip[3] for clip in data["clips"]]
    written = sorted(f"review/{path.name}" for path in (cohort[0].parent / "review").iterdir())
    assert sorted(filter(None, pictures)) == written
    assert [picture is None for picture in pictures] == [False, False, True, True, False, True]
    assert [clip[4] is None for clip in data["clips"]] == [False, False, False, True, False, True]
    assert all(re.fullmatch(r"review/[A-Za-z0-9_-]+\.webp", name) for name in written)


def test_nothing_of_an_id_is_taken_for_markup_and_the_policy_allows_only_what_stands_in_the_page(page):
    assert HOSTILE not in page
    assert HOSTILE in _embedded(page)["patients"]
    assert "<img" not in page.split('<script>"use strict"')[0]
    assert page.count("</script>") == 2
    assert "<fan>" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}
    for way in (r"<\w[^>]*\son\w+=", "innerHTML", "insertAdjacentHTML", r"document\.write", r"eval\("):
        assert not re.search(way, page)


def test_lines_and_keys_are_explained(page):
    legend = page.split('aria-label="Legend">')[1].split("</ul>")[0]
    assert all(word in legend for word in ("sector", "ECG", "R wave", "cycle", "phase"))
    keys = set(re.findall(r"<kbd>([^<]+)</kbd>", page.split('aria-label="Keys">')[1].split("</ul>")[0]))
    pressed = page.split("function pressed(event)")[1].split("\n}")[0]
    handled = set(re.findall(r'event\.key === "([^"]+)"', pressed)) | {"j", "k"}
    assert {"space" if key == " " else key for key in handled} | {"←", "→"} == keys


@needs_browser
def test_a_browser_shows_every_clip_and_no_foreign_markup(cohort, page, tmp_path):
    seen = browse(cohort[0], tmp_path).stdout
    main = seen.split('<main id="clips"')[1].split("</main>")[0]
    assert len(re.findall(r'<article class="clip', main)) == 6
    assert html.escape(HOSTILE, quote=False) in main
    assert main.count("<img ") == len(re.findall(r'<img src="review/[\w-]+\.webp"', main)) == 3
    assert "3 of 3 patients, 6 of 6 clips" in seen
    assert "no &lt;fan&gt; &amp; nothing" in main
    assert '<polygon points="112 0 224 112 0 112">' in main
    assert 'class="r" x1="25" x2="25"' in main
    assert '<li class="notes">decimal commas; r_waves &lt;off&gt;</li>' in main
    assert main.count('<div class="cycle"') == 1
    assert main.count('<div class="cycle unsure"') == 2  # a cycle that reaches beyond the clip, in two parts


FILTERS = {
    ("outcome", "refused"): "2 of 3 patients, 2 of 6 clips",
    ("outcome", "NO_SECTOR"): "1 of 3 patients, 1 of 6 clips",
    ("outcome", "missing"): "2 of 3 patients, 0 of 6 clips",
    ("flags", "any flag"): "1 of 3 patients, 1 of 6 clips",
    ("flags", "low_fit"): "1 of 3 patients, 1 of 6 clips",
    ("flags", "no phase"): "2 of 3 patients, 3 of 6 clips",
    ("rung", "tags"): "1 of 3 patients, 1 of 6 clips",
    ("view", "0"): "2 of 3 patients, 2 of 6 clips",
    ("search", "p3"): "1 of 3 patients, 1 of 6 clips",
}


@needs_browser
def test_a_filter_shows_what_it_says(cohort, page, tmp_path):
    """In a copy of the page that may run the test's own script, which sets one filter after another."""
    script = f"""start(); const seen = []; for (const [name, value] of {json.dumps(list(FILTERS))}) {{
        showAll(); get(name).value = value; fresh();
        seen.push([get("count").textContent, get("reset").hidden]); }}
        document.body.dataset.seen = JSON.stringify(seen);\n</script>"""
    driven = re.sub(r"script-src 'sha256-[^']+'", "script-src 'unsafe-inline'", page)
    cohort[0].write_text(driven.replace("start();\n</script>", script), "utf-8")
    seen = re.search(r'<body [^>]*data-seen="([^"]+)"', browse(cohort[0], tmp_path).stdout)[1]
    assert json.loads(html.unescape(seen)) == [[count, False] for count in FILTERS.values()]


def test_the_head_counts(page):
    def table(title):
        return page.split(f"<caption>{title}</caption>")[1].split("</table>")[0]

    assert "3 patients · 6 clips · 4 prepared · 2 refused · 1 to review · 4 without a true scale" in page
    assert re.findall(r"<code>(\w+)</code>.*?<td>(\d+)</td>", table("Outcome")) == [
        ("OK", "4"), ("NO_SECTOR", "1"), ("TRUNCATED", "1"),
    ]  # fmt: skip
    assert "file cut short" in table("Outcome")
    assert re.findall(r'"row">([^<]+)</th><td>(\d+)', table("Manufacturer")) == [("GE", "2"), ("none", "2")]
    assert "ecg trace" in table("Gating")


def test_a_table_read_back_makes_the_same_page_and_synthetic_data_are_called_so(cohort, page):
    path, quality, shown = cohort
    quality.to_csv(path.with_name("quality.csv"), index=False)
    write_review_page(path, pd.read_csv(path.with_name("quality.csv")), shown)
    assert path.read_text("utf-8") == page
    write_review_page(path, quality, shown, synthetic=True)
    banner = "<strong>Synthetic data.</strong>"
    assert (banner in page, banner in path.read_text("utf-8")) == (False, True)


def test_cells_become_plain_values():
    assert (plain(np.float64(2.50)), plain(np.int64(3)), plain(np.bool_(True))) == (2.5, 3, True)
    assert plain(float("inf")) is plain("") is plain(pd.NA) is plain(None) is None


def _ecg(times, levels, count):
    return sampled_ecg(ClipReview((), tuple(times), tuple(levels), (), (0.0, 1.0), 2.0), count)


def test_the_ecg_is_sampled_over_the_whole_clip_and_stretches_that_nobody_read_stay_empty():
    assert _ecg((0.0, 0.5, 1.0, 1.5, 2.0), (0.0, 1.0, 0.0, 1.0, 0.0), 5).tolist() == [1, 255, 1, 255, 1]
    assert _ecg((1.0, 1.1, 1.2), (0.0, 0.5, 1.0), 21).nonzero()[0].tolist() == [10, 11, 12]
    assert not _ecg((), (), 9).any()
    assert not sampled_ecg(ClipReview(), 9).any()
    times = [t / 100 for t in range(201) if not 80 < t < 120]
    assert set(np.flatnonzero(_ecg(times, [0.5] * len(times), 201) == 0)) == set(range(81, 120))
