"""The page for labelling: what stands in it, and what it does when keys are pressed and files saved."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cardio_mlflow.data.sorting.page import FILM_BYTES, ShownClip, sort_film, write_sort_page
from tests.browser import needs_browser
from tests.driven import Tab, driven_browser

HOSTILE = "</script><img src=x onerror=alert(1)>$data&{{ data }}\"'"
CODES = ("FC", "TC", "SA", "LA", "other")
ACCURACY = {
    "accuracy": 0.971, "coverage": 0.923, "threshold": 0.86, "notes": [HOSTILE],
    "confusion": np.diag([58, 55, 61, 60, 24]) + np.eye(5, k=1, dtype=int),
}  # fmt: skip
RATES = {"tags": None, "suggested": 0.95, "": 0.6}


def _film(seed: int = 0) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (32, 16, 16)).astype(np.uint8)
    return sort_film(small.repeat(14, 1).repeat(14, 2))


def _clips(
    count: int, known: str = "", views: tuple[str, ...] = ("FC", "TC", "SA", "LA", "other")
) -> list[ShownClip]:
    """Clips of 10 per patient; every third has no view at all, the others one from ``known``."""
    film = _film()
    return [
        ShownClip(
            hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()[:16], f"R{i // 10 + 1:04d}", i - 5, film,
            "" if i % 3 == 0 else CODES[i % 5], "" if i % 3 == 0 else known,
            None if i % 3 == 0 else RATES[known], False, "fit 0.81, the one taken 0.95", f"{i} frames", 800.0,
        )
        for i in range(count)
    ]  # fmt: skip


def _write(folder: Path, clips: list[ShownClip], name: str = "cohort") -> Path:
    write_sort_page(folder / "sort.html", clips, name=name, accuracy=ACCURACY, synthetic=True)
    return folder / "sort.html"


def test_a_film_is_eight_frames_of_the_cycle_in_few_bytes() -> None:
    levels = np.repeat(np.arange(32, dtype=np.uint8) * 8, 224 * 224).reshape(32, 224, 224)
    with Image.open(io.BytesIO(sort_film(levels))) as film:
        assert film.size == (112, 8 * 112)
        shown = np.asarray(film.convert("L"), float).reshape(8, 112, 112).mean((1, 2))
    np.testing.assert_allclose(shown, np.arange(0, 32, 4) * 8, atol=3)
    assert len(_film()) <= FILM_BYTES


def test_the_page_is_one_file_that_holds_every_clip_and_runs_nothing_else(tmp_path) -> None:
    clips = [*_clips(4, "tags"), replace(_clips(1)[0], clip=HOSTILE, patient=HOSTILE, film=b"", why=HOSTILE)]
    text = _write(tmp_path, clips, HOSTILE).read_text("utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    films = re.search(r'id="films">(.*?)</script>', text, re.DOTALL)[1].split("\n")
    assert [base64.b64decode(film) for film in films] == [clip.film for clip in clips]
    assert data["patients"] == ["R0001", HOSTILE]
    assert [row[:5] for row in data["clips"][:2]] == [
        [clips[0].clip, 0, -5, "", 3],
        [clips[1].clip, 0, -4, "A2C", 1],
    ]
    assert text.count(HOSTILE) == 0
    assert text.count("</script>") == 3
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none';")
    assert "img-src data:;" in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy.split(f"{tag}-src ")[1].split(";")[0] == f"'sha256-{digest}'"
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    for way in (
        r"<\w[^>]*\son\w+=",
        "innerHTML",
        "insertAdjacentHTML",
        r"document\.write",
        r"eval\(",
        "fetch",
    ):
        assert not re.search(way, text)
    assert "97.1%" in text


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with driven_browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab
        assert tab.faults == []


@pytest.fixture
def opened(tab, tmp_path):
    """A function that opens a page of these clips in a window of 1200 by 900 that knows nothing yet."""

    def open_page(clips: list[ShownClip]) -> Tab:
        tab.resize(1200, 900)
        tab.open(_write(tmp_path, clips, str(tmp_path)))
        return tab

    for old in tab.downloads.iterdir():
        old.unlink()
    return open_page


def _marks(tab: Tab) -> list[str]:
    """What stands under each clip of the screen, without its patient; blanks of all kinds are one."""
    return tab.run(
        "[...document.querySelectorAll('.clip .tag')].map(tag => tag.textContent.replace(/\\s/g, ' ').trim())"
    )


def _selected(tab: Tab) -> int:
    return tab.run(
        "[...document.querySelectorAll('.clip')].findIndex(clip => clip === document.activeElement"
        " && clip.tabIndex === 0 && clip.getAttribute('aria-selected') === 'true')"
    )


def _saved(tab: Tab) -> list[list[str]]:
    tab.click("#save")
    path = tab.downloaded("clips.csv")
    rows = list(csv.reader(path.read_text("utf-8").splitlines()))
    path.unlink()
    assert rows[0] == ["clip", "view", "chosen"]
    return rows[1:]


@needs_browser
def test_keys_label_and_undo_takes_back_every_step(opened) -> None:
    tab = opened(_clips(6))
    before = _marks(tab)
    assert before == ["?", "A2C? 60 %", "PSAX? 60 %", "?", "other? 60 %", "A4C? 60 %"]
    tab.press("1", "0", "ArrowRight", "4")
    assert _marks(tab) == ["✓ A4C", "✓ other", "PSAX? 60 %", "✓ PLAX", "other? 60 %", "A4C? 60 %"]
    assert _selected(tab) == 4
    tab.press("Enter")
    accepted = ["✓ A4C", "✓ other", "✓ PSAX", "✓ PLAX", "✓ other", "✓ A4C"]
    assert _marks(tab) == accepted
    tab.press("ArrowLeft", "x")
    assert _marks(tab)[3] == "?"
    tab.press("2", shift=True)
    assert _marks(tab) == [*accepted[:3], "✓ A2C", *accepted[4:]]
    tab.press("u", "Backspace")
    assert _marks(tab) == accepted
    tab.press("u")
    assert _marks(tab) == ["✓ A4C", "✓ other", "PSAX? 60 %", "✓ PLAX", "other? 60 %", "A4C? 60 %"]
    tab.press("u", "Backspace", "u", "u")
    assert _marks(tab) == before
    assert _saved(tab) == []


@needs_browser
def test_enter_leaves_alone_what_a_person_labelled_and_what_has_no_suggestion(opened) -> None:
    tab = opened(_clips(6, "suggested"))
    tab.run("get('filter').value = 'all'; fresh(); select(state.current); 0")
    tab.press("ArrowRight", "4", "Enter")
    assert _marks(tab) == ["?", "✓ PLAX", "✓ PSAX", "?", "✓ other", "✓ A4C"]
    tab.press("Enter")
    assert "2 clips of this screen have no view yet" in tab.run("get('said').textContent")
    tab.press("1", shift=True)
    assert _marks(tab) == ["✓ A4C", "✓ PLAX", "✓ PSAX", "✓ A4C", "✓ other", "✓ A4C"]


@needs_browser
def test_labels_outlive_a_reload_and_a_saved_file_brings_them_back(opened, tmp_path) -> None:
    clips = _clips(30, "tags")
    tab = opened(clips)
    tab.press("3", "0", "2")
    assert "3 decisions not saved" in tab.run("get('notice').textContent")
    tab.reload()
    tab.run("get('filter').value = 'all'; fresh(); select(state.current); 0")
    assert [mark for mark in _marks(tab) if "✓" in mark] == ["✓ PSAX", "✓ other", "✓ A2C"]
    rows = _saved(tab)
    assert rows == [[clips[0].clip, "PSAX", ""], [clips[3].clip, "other", ""], [clips[6].clip, "A2C", ""]]
    assert "-P views=" in tab.run("get('notice').textContent")
    tab.run("localStorage.clear()")
    tab.reload()
    assert "✓" not in "".join(_marks(tab))
    # As a spreadsheet of another country writes it, with rows that are not of this page.
    spoilt = [*rows, ["f" * 16, "A4C", "yes"], [clips[9].clip, HOSTILE, ""], [clips[1].clip, '"LA"', '"yes"']]
    (tmp_path / "again.csv").write_text(
        "\ufeffnumber;Clip;View;Chosen\r\n" + "".join(f"1;{';'.join(row)}\r\n" for row in spoilt),
        "utf-8",
        newline="",
    )
    tab.give_file("#file", tmp_path / "again.csv")
    tab.wait("get('said').textContent.includes('loaded')")
    assert "4 labels loaded; 1 row of clips that aren't on this page; 1 row without a known view." in tab.run(
        "get('said').textContent"
    )
    assert _saved(tab) == [rows[0], [clips[1].clip, "PLAX", "yes"], *rows[1:]]
    (tmp_path / "wrong.csv").write_text("patient_id,view\nR0001,A4C\n")
    tab.give_file("#file", tmp_path / "wrong.csv")
    tab.wait("get('said').textContent.includes('columns clip and view')")
    tab.press("u")
    assert _saved(tab) == []


@needs_browser
def test_a_page_made_from_a_newer_file_wins_over_what_was_saved_but_not_over_what_was_not(opened) -> None:
    clips = _clips(6)
    tab = opened(clips)
    tab.press("1")
    _saved(tab)
    tab.press("2")
    newer = [replace(clip, view="SA", view_from="eye") for clip in clips[:2]]
    opened([*newer, *clips[2:]])
    tab.run("get('filter').value = 'all'; fresh(); 0")
    assert _marks(tab)[:2] == ["✓ PSAX", "✓ A2C"]
    tab.press("4", "ArrowLeft")
    assert _saved(tab) == (rows := [[clips[0].clip, "PLAX", ""], [clips[1].clip, "A2C", ""]])
    tab.reload()  # what was decided on the newer page, and saved, stays
    assert _saved(tab) == rows


@needs_browser
def test_one_clip_is_taken_for_a_patient_and_a_view_until_it_is_taken_back(opened) -> None:
    clips = [replace(clip, view="FC", view_from="tags", taken=i == 1) for i, clip in enumerate(_clips(4))]
    tab = opened([*clips, *(replace(clip, clip=clip.clip[::-1], patient="R0009") for clip in clips)])
    tab.click("#layout [value=choose]")
    stars = (
        "[...document.querySelectorAll('.clip')].map(clip => clip.querySelector('.star')?.textContent ?? '')"
    )
    assert tab.run(stars) == ["", "taken", "", ""] * 2
    assert tab.run("document.querySelector('.reason').textContent") == clips[0].why
    tab.press("c", "ArrowRight", "ArrowRight", "c")
    assert tab.run(stars) == ["", "", "★ chosen", "", "", "taken", "", ""]
    assert _saved(tab) == [[clips[0].clip, "A4C", ""], [clips[2].clip, "A4C", "yes"]]
    tab.press("u")
    assert tab.run(stars)[:3] == ["★ chosen", "", ""]
    tab.press("ArrowLeft", "ArrowLeft", "2")  # taken for one view, it isn't for another
    assert [row[1:] for row in _saved(tab)] == [["A2C", ""]]
    tab.press("u", "ArrowDown", "ArrowDown", "Enter", "Enter")
    assert _saved(tab) == [[clips[0].clip, "A4C", "yes"], [clips[0].clip[::-1], "A4C", ""]]


@needs_browser
def test_a_mouse_does_what_keys_do_and_gives_them_back(opened) -> None:
    tab = opened(_clips(6))
    tab.click(".clip:nth-child(3)")
    tab.click("[data-view=PLAX]")
    tab.click("#accept")
    assert _marks(tab) == ["?", "✓ A2C", "✓ PLAX", "?", "✓ other", "✓ A4C"]
    tab.click("#whole summary")
    tab.click("[data-all=PSAX]")
    assert _marks(tab) == ["✓ PSAX", "✓ A2C", "✓ PLAX", "✓ PSAX", "✓ other", "✓ A4C"]
    tab.click("#undo")
    tab.click("#undo")
    assert _marks(tab) == ["?", "A2C? 60 %", "✓ PLAX", "?", "other? 60 %", "A4C? 60 %"]
    tab.press("1")
    assert "✓ A4C" in _marks(tab)
    tab.click("#show-accuracy")
    right = "[...document.querySelectorAll('.confusion .right')].map(cell => parseInt(cell.firstChild.data))"
    assert tab.run(right) == [58, 55, 61, 60, 24]


@needs_browser
def test_only_the_screen_is_in_the_document_and_screens_are_worked_through(opened) -> None:
    tab = opened(_clips(100))
    shown = "document.querySelectorAll('.clip').length"
    assert tab.run(shown) == 24
    assert tab.run("document.images.length") == 24
    assert tab.run(
        "[...document.images].every(image => image.decode().then(() => image.naturalHeight === 896))"
    )
    tab.press("n", "n", "p", "1")
    assert tab.run("get('where').textContent").startswith("25–48")
    tab.press("n", "u")
    assert tab.run("get('where').textContent").startswith("25–48")  # back to what is undone
    tab.press("p")
    for _ in range(5):
        tab.press("0", "Enter", shift=False)
        tab.press("3", shift=True)
        tab.press("Enter")
    assert "Nothing is left to be asked" in tab.run("get('clips').textContent")
    assert len(_saved(tab)) == 100
    still = tab.run("document.body.classList.contains('still')")
    tab.press(" ")
    assert tab.run("document.body.classList.contains('still')") is not still


@needs_browser
@pytest.mark.parametrize("size", [(1440, 900), (1024, 700), (390, 844)])
def test_it_fits_the_window_and_nothing_of_a_field_is_taken_for_markup(opened, size) -> None:
    strange = {"patient": HOSTILE, "why": HOSTILE, "facts": HOSTILE, "doubt": HOSTILE}
    tab = opened([replace(clip, **strange) for clip in _clips(60)])
    tab.resize(*size)
    for layout in ("label", "choose"):
        tab.click(f"#layout [value={layout}]")
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        assert tab.run("document.documentElement.scrollHeight <= innerHeight")
        assert tab.run("document.querySelectorAll('img[src=x]').length") == 0
        assert HOSTILE in tab.run("get('about').textContent")
        inside = (
            "[...document.querySelectorAll('.clip')].filter(c => c.getBoundingClientRect().bottom"
            " > get('actions').getBoundingClientRect().top).length"
        )
        assert layout == "choose" or tab.run(inside) == 0
    least = tab.run(
        "Math.min(...[...document.querySelectorAll('.act > button')].map(b => b.offsetHeight || 99))"
    )
    assert least >= (44 if size[0] < 600 else 38)
