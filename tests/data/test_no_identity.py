"""A name is planted wherever a file can hold one; then all that `prepare` wrote is searched for it."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from safetensors.numpy import load_file

from cardio_mlflow.parameters import KEYS
from tests.data.small_clips import JPEG, fan, write_clip

PROJECT = Path(__file__).resolve().parents[2]
NAME = "ZYXELMÖRKOWITZ"
UID = "1.2.826.0.1.3680043.8.498.77031905.4"  # holds the patient's number, as some archives do
NUMBER = "77031905"
BIRTH = "19370211"
SECRETS = (NAME, NAME.lower(), NAME.encode("ascii", "ignore").decode(), "ZYXELM", NUMBER, BIRTH)
VALUES = "6,24,9,15,9,5.1,2.9,2100,1.2"


@dataclass(frozen=True)
class Place:
    """A cohort folder of a plain name, and everything that a command writes elsewhere."""

    cohort: Path
    written: Path

    @property
    def key_folder(self):
        return self.written / "config" / "cardio_mlflow"

    def prepare(self, *cohorts, **given):
        """The entry point `prepare` for one cohort after the other, in the folder of what is written."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CARDIOAI_", "XDG_"))}
        places = {
            f"XDG_{kind}_HOME": str(self.written / kind.lower()) for kind in ("CACHE", "CONFIG", "STATE")
        }
        environment = kept | places | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        settings = {"pseudonymize": "true", "prepare_jobs": "1"} | given
        common = [f"--{name}={value}" for name, value in settings.items()]
        command = [sys.executable, "-c", _ONE_AFTER_THE_OTHER, *map(str, cohorts), "--", *common]
        return subprocess.run(
            command, cwd=self.written, env=environment, capture_output=True, check=False, timeout=300
        )


_ONE_AFTER_THE_OTHER = """
import runpy, sys
end = sys.argv.index("--")
cohorts, common = sys.argv[1:end], sys.argv[end + 1:]
for cohort in cohorts:
    sys.argv = ["prepare", "--data=" + cohort, *common]
    try:
        runpy.run_module("entry_points.prepare", run_name="__main__")
    except SystemExit as stopped:
        print("exit status", stopped.code)
"""


def spellings(secret):
    """A secret as bytes, in every encoding that a file of ours could hold it in."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
        data = secret.encode(encoding)
        yield data
        yield data.hex().encode()
        for shift in range(3):  # base64 of a text that holds it at any place
            text = base64.b64encode(b"\0" * shift + data)
            yield text[4 : len(text) // 4 * 4 - 4]
    yield quote(secret).encode()
    yield secret.encode("unicode_escape")


def occurrences(data, where):
    looked_in = (data, data.lower(), unquote_to_bytes(data))
    found = {s for s in SECRETS for b in spellings(s) if len(b) >= 6 and any(b in part for part in looked_in)}
    return [f"{where}: {secret}" for secret in sorted(found)]


def readable(path):
    """A file's bytes, and what it holds compressed or in a database."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"\x89PNG"):
        with Image.open(path) as image:
            yield repr(image.info).encode()  # texts, also compressed ones
    if data.startswith(b"SQLite format 3"):
        with sqlite3.connect(path) as store:
            yield "\n".join(map(str, store.iterdump())).encode()


def leaks(place):
    found = []
    for path in sorted(place.rglob("*")):
        found += occurrences(str(path.relative_to(place)).encode(), f"name of {path}")
        if path.is_file():
            for data in readable(path):
                found += occurrences(data, str(path))
    return found


def plant(path, number):
    """Write the name, a number and a birth date into every kind of tag of a DICOM file."""
    data = pydicom.dcmread(path)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"{UID}.{number}"
    data.file_meta.ImplementationVersionName = NAME.encode("ascii", "ignore").decode()
    data.StudyInstanceUID = data.SeriesInstanceUID = data.FrameOfReferenceUID = UID
    data.PatientName, data.PatientID, data.PatientBirthDate = f"{NAME}^Vera", NUMBER, BIRTH
    for keyword in ("InstitutionName", "StationName", "StudyDescription", "SeriesDescription",
                    "ImageComments", "ReferringPhysicianName", "OperatorsName", "Manufacturer",
                    "ManufacturerModelName", "ProtocolName", "DeviceSerialNumber", "AccessionNumber",
                    "StudyID"):  # fmt: skip
        setattr(data, keyword, NAME[:16])
    data.AcquisitionDateTime = f"{BIRTH}101112"
    block = data.private_block(0x0019, "ZYXELMARK", create=True)
    block.add_new(0x01, "LT", NAME)
    block.add_new(0x02, "OB", NAME.encode("utf-16-le"))
    inner = Dataset()
    inner.PatientName = NAME
    block.add_new(0x03, "SQ", Sequence([inner]))
    data.OtherPatientIDsSequence = Sequence([inner])
    data.save_as(path, enforce_file_format=False)
    return path


def comment(path):
    """Put the name into a comment segment of every JPEG frame."""
    data = pydicom.dcmread(path)
    body = NAME.encode()
    segment = b"\xff\xfe" + (len(body) + 2).to_bytes(2, "big") + body
    whole = generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames))
    frames = [frame[:2] + segment + frame[2:] for frame in whole]
    data.PixelData = encapsulate(frames)
    data.save_as(path, enforce_file_format=False)
    return path


def labels(cohort, *rows):
    text = f"patient_id,{','.join(KEYS)},sex,rhythm\n" + "".join(f"{row},f,{NAME}\n" for row in rows)
    (cohort / "labels.csv").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three patients: two with good clips in several layouts, one whose clips are all refused."""
    place = Place(tmp_path_factory.mktemp("cohort"), tmp_path_factory.mktemp("written"))
    dicom, stem = place.cohort / "dicom", f"{NAME}-2"
    for folder in (dicom / stem / "A4C", dicom / "Three", place.cohort / "tensors"):
        folder.mkdir(parents=True)
    labels(place.cohort, f"{NAME},{VALUES}", f"{stem},{VALUES}", f"Three,{VALUES}")
    plant(write_clip(dicom / f"{NAME}_FC.dcm", fan(words=NAME)), 1)
    plant(write_clip(dicom / f"{NAME}_TC.dcm", fan()), 2)
    plant(comment(write_clip(dicom / stem / "A4C" / f"{NAME}.dcm", fan(frames=30, period=22), JPEG[0])), 3)
    plant(write_clip(dicom / stem / f"SA_{NAME}_2.dcm", fan(period=18)), 4)
    (dicom / f"Three_FC_{NAME}.dcm").write_text(f"{NAME} is no DICOM file", encoding="utf-8")
    broken = write_clip(dicom / "Three" / f"TC_{NAME}_b.dcm", fan(), PhotometricInterpretation="ZYXELM")
    broken.write_bytes(broken.read_bytes()[:-500])
    torch.save({NAME: torch.zeros(3), "name": NAME}, place.cohort / "tensors" / "Three_SA.pt")
    (dicom / f"Three_LA_{NAME}.avi").write_bytes(b"RIFF\x40\0\0\0AVI LIST" + NAME.encode() * 9)
    (dicom / f"{NAME}.txt").write_text(NAME, encoding="utf-8")
    (dicom / NAME / "kept apart").mkdir(parents=True)
    return place


@pytest.fixture(scope="module")
def prepared(place):
    return place.prepare(place.cohort, num_folds="2")


def test_nothing_that_is_written_holds_the_name(place, prepared):
    assert prepared.stdout.decode() == "", prepared.stderr.decode()  # no exit status
    assert occurrences(prepared.stdout + prepared.stderr, "what was said") == []
    inside = [leak for leak in leaks(place.written) if not leak.startswith(str(place.key_folder))]
    assert inside == []


def test_the_table_beside_the_key_leads_back(place, prepared):
    assert {path.name for path in place.key_folder.iterdir() if not path.name.endswith(".lock")} == {
        "pseudonym.key",
        "pseudonym-mapping.csv",
    }
    table = pd.read_csv(place.key_folder / "pseudonym-mapping.csv").set_index("pseudonym")["patient_id"]
    assert sorted(table) == sorted([NAME, f"{NAME}-2", "Three"])
    (quality,) = place.written.glob("mlruns/**/quality.csv")
    rows = pd.read_csv(quality)
    outcomes = {
        (table[i], v): o for i, v, o in zip(rows["patient_id"], rows["view"], rows["outcome"], strict=True)
    }
    good = [(NAME, "FC"), (NAME, "TC"), (f"{NAME}-2", "FC"), (f"{NAME}-2", "SA")]
    assert {key for key, outcome in outcomes.items() if outcome == "OK"} == set(good)
    assert len(outcomes) == 8


def test_words_in_the_picture_leave_no_trace(place, prepared):
    table = pd.read_csv(place.key_folder / "pseudonym-mapping.csv").set_index("patient_id")["pseudonym"]
    (listed,) = place.written.glob("cache/**/clips.json")
    clips = json.loads(listed.read_text())["clips"]
    keys = [key for patient, _, key in clips if patient == table[NAME]]
    with_words, without = (load_file(next(place.written.glob(f"cache/**/{key}.safetensors"))) for key in keys)
    assert with_words["frames"].any()
    np.testing.assert_array_equal(with_words["frames"], without["frames"])


def _no_clip(folder):
    labels(folder, f"{NAME},{VALUES}")
    (folder / f"{NAME}-9_FC.dcm").write_text(NAME, encoding="utf-8")


def _bad_cells(folder):
    labels(folder, f"{NAME},{VALUES}", f"{NAME},{NAME},{VALUES[2:]}", f"{NAME}/2,{VALUES}")


def _no_header(folder):
    (folder / "labels.csv").write_text(f"{NAME},{VALUES}\n" * 2, encoding="utf-8")


def _bad_clip_sheet(folder):
    labels(folder, f"{NAME},{VALUES}")
    text = f"patient_id,view,path\n{NAME},FC,{NAME}.dcm\n{NAME},{NAME},../{NAME}.dcm\n"
    (folder / "clips.csv").write_text(text, encoding="utf-8")


def _linked(folder):
    labels(folder, f"{NAME},{VALUES}")
    (folder / f"{NAME}_FC.dcm").symlink_to(folder.parent / f"elsewhere-{NAME}")


def _bad_folds(folder):
    labels(folder, f"{NAME},{VALUES}", f"B,{VALUES}")
    (folder / f"{NAME}_FC.dcm").write_text(NAME, encoding="utf-8")
    text = f"patient_id,fold\n{NAME},1\n{NAME},2\n{NAME}-3,{NAME}\n"
    (folder / "folds.csv").write_text(text, encoding="utf-8")


def _all_refused(folder):
    labels(folder, f"{NAME},{VALUES}", f"B,{VALUES}", f"C,{VALUES}", f"D,{VALUES}", f"E,{VALUES}")
    (folder / f"{NAME}_FC.dcm").write_text(NAME, encoding="utf-8")


def _no_study_date(folder):
    """The length of the transfer syntax UID is wrong: pydicom repeats in a warning all that follows."""
    for number, study in enumerate((f"{NAME} 1", f"{NAME} 2")):
        (place := folder / "dicom" / NAME / study).mkdir(parents=True)
        path = plant(write_clip(place / "FC.dcm", fan(3)), number)
        data = path.read_bytes()
        end = data.index(b"\x02\0\x10\0UI") + 6
        path.write_bytes(data[:end] + b"\xad" + data[end + 1 :])
    text = f"patient_id,rhc_date,{','.join(KEYS)}\n{NAME},1937-02-11,{VALUES}\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")


def test_no_failure_tells_the_name(tmp_path):
    place = Place(tmp_path / "cohorts", tmp_path / "written")
    place.written.mkdir()
    kinds = (_no_clip, _bad_cells, _no_header, _bad_clip_sheet, _linked, _bad_folds, _all_refused,
             _no_study_date)  # fmt: skip
    for make in kinds:
        (place.cohort / make.__name__).mkdir(parents=True)
        make(place.cohort / make.__name__)
    done = place.prepare(*(place.cohort / make.__name__ for make in kinds), studies="newest")
    said = done.stderr.decode()
    assert done.stdout.decode().split("\n")[:-1] == ["exit status 1"] * len(kinds), said
    assert said.count("This did not work") == len(kinds)
    assert "the date of one of 2 studies cannot be read" in said
    assert "Traceback" not in said
    assert occurrences(done.stdout + done.stderr, "what was said") == []
    inside = [leak for leak in leaks(place.written) if not leak.startswith(str(place.key_folder))]
    assert inside == []


def test_the_search_finds_what_it_looks_for(tmp_path):
    coded = [base64.b64encode(f"{words} {NAME} behind it".encode()) for words in ("a word", "word")]
    hidden = [NAME.encode("utf-16-le"), quote(f"x={NAME}").encode(), NAME.encode().hex().encode(),
              f"born {BIRTH}".encode(), *coded]  # fmt: skip
    for number, data in enumerate(hidden):
        (tmp_path / f"{number}").write_bytes(data)
    texts = PngInfo()
    texts.add_text("comment", NAME, zip=True)
    Image.new("L", (9, 9)).save(tmp_path / "6", "png", pnginfo=texts)
    (tmp_path / f"{NAME}.txt").write_bytes(b"")
    with sqlite3.connect(tmp_path / "x.db") as store:
        store.execute("create table t (a text)")
        store.execute("insert into t values (?)", [NAME])
    found = {leak.split(": ")[0] for leak in leaks(tmp_path)}
    files = {str(tmp_path / name) for name in (*"0123456", "x.db")}
    assert found == files | {f"name of {tmp_path / f'{NAME}.txt'}"}
