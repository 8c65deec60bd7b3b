"""The review page: its data, its pictures, its policy, and ids that would break out of it."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from cardio_mlflow.data.batch.patient_files import patient_files
from cardio_mlflow.data.review.filmstrips import FILM_SIDE, filmstrip
from PIL import Image
from safetensors.numpy import save_file

from cardio_mlflow.data.quality import QUALITY_COLUMNS, ClipReview
from cardio_mlflow.data.review.page import SHOWN_COLUMNS, plain, write_review_page

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
    """Two patients with files; a third whose only clip was refused."""
    for patient, views in (("P1", (1, 1, 0, 1)), (HOSTILE, (1, 0, 0, 0))):
        frames = np.random.default_rng(1).integers(0, 200, (4, 32, 224, 224)).astype(np.uint8)
        save_file(
            {"views": frames, "view_mask": np.array(views, np.uint8)},
            patient_files(tmp_path, patient).tensors,
        )
    rows = [
        {"patient_id": "P1", "view": "FC", "outcome": "OK", "rr_ms": 812.5, "frames": 48.0,
         "gating": "ecg_trace", "phase_verified": True, "manufacturer": "GE"},
        {"patient_id": "P1", "view": "TC", "outcome": "OK", "gating": "periodicity", "phase_verified": False,
         "manufacturer": "GE", "review": "low_fit text"},
        {"patient_id": "P1", "view": "SA", "outcome": "OK"},
        {"patient_id": "P1", "view": "LA", "outcome": "NO_SECTOR", "message": "no <fan> & nothing"},
        {"patient_id": HOSTILE, "view": "FC", "outcome": "OK", "gating": "tags"},
        {"patient_id": "P3", "view": "LA", "outcome": "TRUNCATED", "message": "cut after 3 of 9 frames"},
    ]  # fmt: skip
    quality = pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))
    return tmp_path, quality, ["P1", HOSTILE], {("P1", "FC"): REVIEW, ("P1", "LA"): REVIEW}


def _embedded(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )


def test_the_page_knows_every_clip(cohort):
    folder, quality, patients, reviews = cohort
    path = write_review_page(folder, quality, patients, reviews)
    assert path == folder / "review.html"
    data = _embedded(path.read_text("utf-8"))
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
    folder, quality, patients, reviews = cohort
    data = _embedded(write_review_page(folder, quality, patients, reviews).read_text("utf-8"))
    pictures = [clip[3] for clip in data["clips"]]
    written = sorted(f"review/{path.name}" for path in (folder / "review").iterdir())
    assert sorted(filter(None, pictures)) == written
    # The third is called prepared but its file lacks it; the fourth is in the file but was refused.
    assert [picture is None for picture in pictures] == [False, False, True, True, False, True]
    assert [clip[4] is None for clip in data["clips"]] == [False, True, True, True, True, True]
    assert all(re.fullmatch(r"review/[A-Za-z0-9_-]+\.webp", name) for name in written)


def test_a_filmstrip_holds_all_frames_in_order():
    frames = np.repeat(np.arange(32, dtype=np.uint8) * 7, 224 * 224).reshape(32, 224, 224)
    data = filmstrip(frames)
    strip = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert strip.shape == (32 * FILM_SIDE, FILM_SIDE)
    levels = strip.reshape(32, FILM_SIDE, FILM_SIDE)[:, 20:-20, 20:-20].mean(axis=(1, 2))
    assert np.abs(levels - np.arange(32) * 7).max() < 5
    assert data == filmstrip(frames)


def test_nothing_of_an_id_is_taken_for_markup(cohort):
    folder, quality, patients, reviews = cohort
    text = write_review_page(folder, quality, patients, reviews).read_text("utf-8")
    assert HOSTILE not in text
    assert "<img" not in text.split('<script>"use strict"')[0]
    assert text.count("</script>") == 2
    assert html.escape(HOSTILE) in text  # in the table for readers without scripts
    assert "no &lt;fan&gt; &amp; nothing" in text


def test_the_policy_allows_only_what_stands_in_the_page(cohort):
    folder, quality, patients, reviews = cohort
    text = write_review_page(folder, quality, patients, reviews).read_text("utf-8")
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
    folder, quality, patients, reviews = cohort
    text = write_review_page(folder, quality, patients, reviews).read_text("utf-8")
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
    folder, quality, patients, reviews = cohort
    shown = _shown(write_review_page(folder, quality, patients, reviews), tmp_path)
    main = shown.split('<main id="clips"')[1].split("</main>")[0]
    assert len(re.findall(r'<article class="clip', main)) == 6
    assert html.escape(HOSTILE, quote=False) in main
    assert main.count("<img ") == len(re.findall(r'<img src="review/[\w-]+\.webp"', main)) == 3
    assert "3 of 3 patients, 6 of 6 clips" in shown
    assert "no &lt;fan&gt; &amp; nothing" in main
    assert '<polygon points="112 0 224 112 0 112">' in main
    assert 'class="r" x1="25" x2="25"' in main


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
    folder, quality, patients, reviews = cohort
    page = write_review_page(folder, quality, patients, reviews)
    shown = _shown(page, tmp_path, f"get('{name}').value = {value!r}; fresh();")
    assert count == re.search(r'<output id="count"[^>]*>([^<]*)<', shown)[1]
    assert re.search(r'<button id="reset" type="button">', shown)


def test_the_head_counts(cohort):
    folder, quality, patients, reviews = cohort
    text = write_review_page(folder, quality, patients, reviews).read_text("utf-8")
    assert "3 patients · 6 clips · 4 prepared · 2 refused · 1 to review" in text
    outcomes = text.split("<caption>Outcome</caption>")[1].split("</table>")[0]
    assert re.findall(r"<code>(\w+)</code>.*?<td>(\d+)</td>", outcomes) == [
        ("OK", "4"), ("NO_SECTOR", "1"), ("TRUNCATED", "1"),
    ]  # fmt: skip
    makers = text.split("<caption>Manufacturer</caption>")[1].split("</table>")[0]
    assert re.findall(r'"row">([^<]+)</th><td>(\d+)', makers) == [("GE", "2"), ("none", "2")]
    gating = text.split("<caption>Gating</caption>")[1].split("</table>")[0]
    assert "ecg trace" in gating


def test_synthetic_data_are_called_so(cohort):
    folder, quality, patients, reviews = cohort
    assert "Synthetic data" not in write_review_page(folder, quality, patients, reviews).read_text("utf-8")
    page = write_review_page(folder, quality, patients, reviews, synthetic=True).read_text("utf-8")
    assert "<strong>Synthetic data.</strong>" in page


def test_the_same_bytes_at_any_number_of_threads(cohort):
    folder, quality, patients, reviews = cohort
    found = []
    for jobs in (1, 3):
        page = write_review_page(folder, quality, patients, reviews, jobs=jobs)
        found.append([page.read_bytes(), *(p.read_bytes() for p in sorted((folder / "review").iterdir()))])
    assert found[0] == found[1]


def test_a_table_read_back_makes_the_same_page(cohort):
    folder, quality, patients, reviews = cohort
    first = write_review_page(folder, quality, patients, reviews).read_bytes()
    quality.to_csv(folder / "quality.csv", index=False)
    again = pd.read_csv(folder / "quality.csv")
    assert write_review_page(folder, again, patients, reviews).read_bytes() == first


def test_cells_become_plain_values():
    assert plain(np.float64(2.50)) == 2.5
    assert plain(np.int64(3)) == 3
    assert plain(np.bool_(True)) is True
    assert plain(float("inf")) is plain("") is plain(pd.NA) is plain(None) is None
