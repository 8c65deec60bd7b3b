"""Contact sheets: what they show, what they don't, and that hostile ids do no harm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cardio_mlflow.data.batch.patient_files import patient_files
from cardio_mlflow.data.review.contact_cell import CELL_HEIGHT, CELL_WIDTH, LEGEND
from cardio_mlflow.data.review.contact_sheet import write_contact_sheets
from cardio_mlflow.data.review.lettering import fitted, font, wrapped
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from cardio_mlflow.data.outcomes import Outcome, outcome_words
from cardio_mlflow.data.quality import QUALITY_COLUMNS, ClipReview
from cardio_mlflow.data.review.page import ASSUMED, R_MARK, draw_ecg_strip, sampled_ecg

HEAD = 48
OUTLINE = ((112.0, 0.0), (224.0, 112.0), (112.0, 160.0), (0.0, 112.0))
REVIEW = ClipReview(
    OUTLINE, (0.0, 0.5, 1.0, 1.5, 2.0), (0.0, 1.0, 0.0, 1.0, 0.0), (0.5, 1.5), (0.5, 1.5), 2.0
)


def _patient(folder, name, level=200, views=(1, 1, 1, 1)):
    """A patient's file: every prepared view one gray level, the others 255 where nobody may look."""
    mask = np.array(views, np.uint8)
    frames = np.where(mask[:, None, None, None] > 0, level, 255)
    save_file(
        {"views": np.broadcast_to(frames, (4, 32, 224, 224)).astype(np.uint8), "view_mask": mask},
        patient_files(folder, name).tensors,
    )


def _quality(*rows):
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def _row(patient, view, outcome="OK", **values):
    return {"patient_id": patient, "view": view, "outcome": outcome, "phase_verified": True, **values}


def _pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_prepared_clip_is_shown_with_its_outline(tmp_path):
    _patient(tmp_path, "P1")
    quality = _quality(_row("P1", "FC", rr_ms=800.0, frames_used=20.0, frames=40.0))
    (bare,) = write_contact_sheets(tmp_path, quality, ["P1"])
    without = _pixels(bare)[HEAD:]
    (drawn,) = write_contact_sheets(tmp_path, quality, ["P1"], {("P1", "FC"): REVIEW})
    assert (without == 200).all(axis=2).mean() > 0.07
    yellow = (_pixels(drawn)[HEAD:].astype(int) @ [1, 1, -2]) > 300
    assert yellow.sum() > 400
    assert not ((without.astype(int) @ [1, 1, -2]) > 300).any()


def test_a_refused_or_missing_clip_shows_no_pixel_of_it(tmp_path):
    _patient(tmp_path, "P1", level=137)
    refused = _quality(
        *(_row("P1", view, "NO_SECTOR", message="no fan " * 40) for view in ("FC", "TC", "SA", "LA"))
    )
    for quality in (refused, _quality()):
        (sheet,) = write_contact_sheets(tmp_path, quality, ["P1"])
        assert not (_pixels(sheet)[HEAD:] == 137).all(axis=2).any()


def test_an_unprepared_view_is_not_shown_whatever_the_table_says(tmp_path):
    _patient(tmp_path, "P1", views=(1, 0, 0, 0))
    quality = _quality(*(_row("P1", view) for view in ("FC", "TC", "SA", "LA")))
    (sheet,) = write_contact_sheets(tmp_path, quality, ["P1"])
    assert not (_pixels(sheet) == 255).all(axis=2).any()


def test_a_patient_without_any_prepared_clip_has_a_row(tmp_path):
    _patient(tmp_path, "P1", views=(1, 0, 0, 0))
    rows = [_row("P0", "LA", "COLOR_DOPPLER", message="colour"), _row("P1", "FC")]
    (both,) = write_contact_sheets(tmp_path, _quality(*rows), ["P1"])
    with_both = _pixels(both)
    (alone,) = write_contact_sheets(tmp_path, _quality(rows[1]), ["P1"])
    assert len(with_both) - len(_pixels(alone)) == CELL_HEIGHT + 8
    first, second = with_both[HEAD : HEAD + CELL_HEIGHT], with_both[HEAD + CELL_HEIGHT + 8 :]
    assert (first == (52, 26, 28)).all(axis=2).sum() > 10_000
    assert not (first == 200).all(axis=2).any()
    assert (second == 200).all(axis=2).sum() > 10_000


def test_the_head_says_what_the_lines_mean(tmp_path):
    (sheet,) = write_contact_sheets(tmp_path, _quality(_row("P0", "FC", "NO_SECTOR")), [])
    head = _pixels(sheet)[:HEAD]
    assert len(LEGEND) == 5
    for _, color in LEGEND:
        assert (head == color).all(axis=2).any()


def test_a_page_holds_24_patients(tmp_path):
    patients = [f"P{i}" for i in range(25)]
    for patient in patients:
        _patient(tmp_path, patient, views=(0, 0, 0, 0))
    sheets = write_contact_sheets(tmp_path, _quality(), patients)
    assert [sheet.name for sheet in sheets] == ["contact_sheet.png", "contact_sheet_02.png"]
    heights = [Image.open(sheet).height for sheet in sheets]
    assert heights[0] - heights[1] == 23 * (CELL_HEIGHT + 8)
    assert Image.open(sheets[0]).width > 4 * CELL_WIDTH


def test_synthetic_data_are_called_so(tmp_path):
    _patient(tmp_path, "P1")
    (sheet,) = write_contact_sheets(tmp_path, _quality(), ["P1"])
    plain = sheet.read_bytes()
    assert write_contact_sheets(tmp_path, _quality(), ["P1"]) == [sheet]
    assert sheet.read_bytes() == plain
    write_contact_sheets(tmp_path, _quality(), ["P1"], synthetic=True)
    assert sheet.read_bytes() != plain


@pytest.mark.parametrize("name", ["", "\n\t\0x", "Müller-Čapek 東京 " * 9, "\u202e../../x", "<b>"])
def test_any_patient_id_can_be_drawn(tmp_path, name):
    _patient(tmp_path, name)
    (sheet,) = write_contact_sheets(tmp_path, _quality(_row(name, "FC")), [name])
    assert sheet.parent == tmp_path
    assert _pixels(sheet).std() > 5


@given(st.text(max_size=60), st.integers(12, 300))
@settings(max_examples=60, deadline=None)
def test_a_fitted_text_fits_and_keeps_its_ends(text, width):
    face = font(12)
    short = fitted(text, face, width)
    assert face.getlength(short) <= width
    assert short.isprintable()
    if "…" in short and "…" not in text and len(short) > 2:
        assert text[0].isprintable() <= short.startswith(text[0])
    lines = wrapped(text, face, width, 3)
    assert len(lines) <= 3
    assert all(face.getlength(line) <= width for line in lines)


def test_a_text_that_fits_is_left_alone():
    assert fitted("P0001", font(12), 200) == "P0001"
    assert fitted("HOSPITAL-0000000000017", font(12), 90).endswith("017")
    assert wrapped("a b c", font(12), 200, 2) == ["a b c"]
    assert " ".join(wrapped("many words " * 6, font(12), 120, 9)) == ("many words " * 6).strip()


def test_the_ecg_is_sampled_over_the_whole_clip():
    assert sampled_ecg(REVIEW, 5).tolist() == [1, 255, 1, 255, 1]
    late = ClipReview((), (1.0, 1.1, 1.2), (0.0, 0.5, 1.0), (), (0.0, 1.0), 2.0)
    assert sampled_ecg(late, 21).nonzero()[0].tolist() == [10, 11, 12]
    assert not sampled_ecg(ClipReview((), (), (), (0.1,), (0.0, 1.0), 2.0), 9).any()
    assert not sampled_ecg(ClipReview(), 9).any()


def test_a_stretch_that_nobody_read_stays_empty():
    times = tuple(t / 100 for t in range(201) if not 80 < t < 120)
    levels = sampled_ecg(ClipReview((), times, (0.5,) * len(times), (), (0.0, 1.0), 2.0), 201)
    assert set(np.flatnonzero(levels == 0)) == set(range(81, 120))


def test_r_waves_and_assumed_bounds_look_different():
    strip = np.zeros((20, 201, 3), np.uint8)
    draw_ecg_strip(strip, ClipReview((), (), (), (0.5, 1.5), (0.5, 1.5), 2.0), True)
    assert (strip[0] == R_MARK).all(axis=1).nonzero()[0].tolist() == [50, 150]
    verified = strip.copy()
    draw_ecg_strip(strip, ClipReview((), (), (), (0.5, 1.5), (0.5, 1.5), 2.0), False)
    assert not (strip == R_MARK).all(axis=2).any()
    assert (strip[0] == ASSUMED).all(axis=1).nonzero()[0].tolist() == [50, 150]
    assert (strip[2, 100] != verified[2, 100]).any()
    assert (strip[2, 100] != strip[2, 20]).any()


@given(st.lists(st.floats(-3, 5), max_size=6), st.floats(-1, 4), st.floats(-1, 4), st.floats(0.001, 3))
@settings(max_examples=60, deadline=None)
def test_any_time_line_can_be_drawn(r_waves, start, stop, duration):
    strip = np.zeros((26, 100, 3), np.uint8)
    times = tuple(sorted(abs(r) for r in r_waves))
    review = ClipReview((), times, (0.5,) * len(times), tuple(r_waves), (start, stop), duration)
    draw_ecg_strip(strip, review, True)
    assert strip.any()


def test_every_outcome_has_words():
    for outcome in Outcome:
        assert outcome_words(outcome) != outcome.replace("_", " ").lower() or outcome in {
            Outcome.COLOR_DOPPLER, Outcome.TOO_LARGE,
        }  # fmt: skip
