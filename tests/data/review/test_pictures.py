"""Films and contact sheets: what they show, what they don't, and that hostile ids do no harm."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry
from cardio_mlflow.data.outcomes import Outcome, outcome_table
from cardio_mlflow.data.quality import QUALITY_COLUMNS, Quality
from cardio_mlflow.data.review import pictures
from cardio_mlflow.data.review.pictures import (
    FILM_SIDE,
    PER_SHEET,
    filmstrip,
    fitted,
    font,
    write_contact_sheets,
    write_films,
)

VIEWS = ("FC", "TC", "SA", "LA")


@pytest.fixture
def clip(tmp_path):
    """The file of a prepared clip of one gray level."""
    path = tmp_path / "clip.safetensors"
    save_file({"frames": np.full((32, 224, 224), 200, np.uint8)}, path)
    return path


def _quality(*rows):
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def _row(patient, view, outcome="OK", **values):
    return {"patient_id": patient, "view": view, "outcome": outcome, "phase_verified": True, **values}


def _pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _shown(path):
    """Pixels of the clip's level."""
    return int((_pixels(path) == 200).all(axis=2).sum())


def test_a_prepared_clip_is_shown_twice_and_a_refused_one_says_why(tmp_path, clip):
    quality = _quality(_row("P1", "FC"), _row("P1", "TC", "NO_SECTOR", message="no fan " * 40))
    (sheet,) = write_contact_sheets(tmp_path, quality, {("P1", "FC"): clip, ("P1", "TC"): clip})
    assert _shown(sheet) == pytest.approx(2 * 112 * 112, rel=0.01)
    assert (_pixels(sheet) == (52, 26, 28)).all(axis=2).sum() > 10_000
    assert _shown(write_contact_sheets(tmp_path, quality, {})[0]) < 100


def test_what_stands_out_is_in_another_color_and_rate_and_gating_are_written(tmp_path, clip):
    def sheet(**values):
        return write_contact_sheets(tmp_path, _quality(_row("P1", "FC", **values)), {("P1", "FC"): clip})[0]

    flagged = [
        (_pixels(sheet(**values)) == (255, 190, 90)).all(axis=2).any()
        for values in ({}, {"review": "low_fit text"}, {"phase_verified": False})
    ]
    assert flagged == [False, True, True]
    told = ({}, {"rr_ms": 812.5}, {"rr_ms": 900.0}, {"gating": "tags"})
    assert len({sheet(**values).read_bytes() for values in told}) == 4


@pytest.mark.parametrize("left", [None, b"RIFF", slice(0, 500), slice(1, None)])
def test_a_film_that_is_cut_or_missing_in_the_store_is_made_again(tmp_path, left):
    store = ClipStore(tmp_path / "store", 1e9)
    store.write("k", Entry(Quality()), np.full((32, 224, 224), 90, np.uint8))
    write_films(store, ["k"], tmp_path / "a", 1)
    film, whole = store.path("k").with_suffix(".webp"), (tmp_path / "a" / "k.webp").read_bytes()
    film.unlink() if left is None else film.write_bytes(whole[left] if isinstance(left, slice) else left)
    write_films(store, ["k"], tmp_path / "b", 1)
    assert film.read_bytes() == (tmp_path / "b" / "k.webp").read_bytes() == whole
    kept = film.stat().st_ino
    write_films(store, ["k"], tmp_path / "b", 1)
    assert film.stat().st_ino == kept


def test_a_sheet_holds_24_patients(tmp_path):
    quality = _quality(*(_row(f"P{i}", "FC", "NO_SECTOR") for i in range(PER_SHEET + 1)))
    sheets = write_contact_sheets(tmp_path, quality, {})
    assert [sheet.name for sheet in sheets] == ["contact_sheet.png", "contact_sheet_02.png"]
    heights = [Image.open(sheet).height for sheet in sheets]
    one = heights[0] - heights[1]
    assert one % (PER_SHEET - 1) == 0
    assert heights[1] < 2 * one // (PER_SHEET - 1)


def test_synthetic_data_are_called_so(tmp_path, clip):
    quality = _quality(_row("P1", "FC"))
    (sheet,) = write_contact_sheets(tmp_path, quality, {("P1", "FC"): clip})
    plain = sheet.read_bytes()
    assert write_contact_sheets(tmp_path, quality, {("P1", "FC"): clip}) == [sheet]
    assert sheet.read_bytes() == plain
    write_contact_sheets(tmp_path, quality, {("P1", "FC"): clip}, synthetic=True)
    assert sheet.read_bytes() != plain


@pytest.mark.parametrize("name", ["", "\n\t\0x", "Müller-Čapek 東京 " * 9, "\u202e../../x", "<b>"])
def test_any_patient_id_can_be_drawn(tmp_path, clip, name):
    (sheet,) = write_contact_sheets(tmp_path, _quality(_row(name, "FC")), {(name, "FC"): clip})
    assert sheet.parent == tmp_path
    assert _shown(sheet) > 20_000


@given(st.text(max_size=40), st.integers(12, 300))
@settings(max_examples=30, deadline=None)
def test_a_fitted_text_fits_and_keeps_its_ends(text, width):
    face = font(12)
    short = fitted(text, face, width)
    assert face.getlength(short) <= width
    assert short.isprintable()
    if "…" in short and "…" not in text and len(short) > 2:
        assert text[0].isprintable() <= short.startswith(text[0])


def test_a_text_that_fits_is_left_alone():
    assert fitted("P0001", font(12), 200) == "P0001"
    assert fitted("HOSPITAL-0000000000017", font(12), 90).endswith("017")


def test_every_outcome_has_words_and_every_refusal_a_hint():
    assert all(outcome.words for outcome in Outcome)
    assert [outcome for outcome in Outcome if not outcome.hint] == [Outcome.OK]
    table = outcome_table(["NO_SECTOR", "OK", "NO_SECTOR", "TRUNCATED"]).splitlines()
    assert [line.split()[:2] for line in table] == [["OK", "1"], ["NO_SECTOR", "2"], ["TRUNCATED", "1"]]
    assert table[2].endswith("copy the file again")


def test_a_filmstrip_holds_all_frames_in_order():
    frames = np.repeat(np.arange(32, dtype=np.uint8) * 7, 224 * 224).reshape(32, 224, 224)
    data = filmstrip(frames)
    strip = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert strip.shape == (32 * FILM_SIDE, FILM_SIDE)
    levels = strip.reshape(32, FILM_SIDE, FILM_SIDE)[:, 20:-20, 20:-20].mean(axis=(1, 2))
    assert np.abs(levels - np.arange(32) * 7).max() < 5
    assert data == filmstrip(frames)


def test_a_film_is_made_once_and_is_the_same_file_in_every_cohort_or_a_copy(tmp_path, monkeypatch):
    store, frames, keys = ClipStore(tmp_path / "store", 1e12), np.random.default_rng(1), ["a" * 32, "b" * 32]
    for key in keys:
        store.write(
            key, Entry(Quality(), pixels=key), frames.integers(0, 200, (32, 224, 224)).astype(np.uint8)
        )
    write_films(store, keys, tmp_path / "review", jobs=2)
    before = [filmstrip(store.frames(key)) for key in keys]
    monkeypatch.setattr(pictures, "filmstrip", None)
    for folder in ("review", "other", "third"):
        if folder == "third":  # on a file system without links
            monkeypatch.setattr(pictures.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
        write_films(store, keys, tmp_path / folder, jobs=1)
        assert [(tmp_path / folder / f"{key}.webp").read_bytes() for key in keys] == before
