"""Clips in AVI, MP4 and other video files."""

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.batch.sandbox import Sandbox
from cardio_mlflow.data.files.frames import LumaFrames, decode_rgb
from cardio_mlflow.data.files.non_dicom import is_video, video_frames, video_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from tests.data.small_clips import fan

KINDS = [("roe.avi", "MJPG"), ("roe.avi", "XVID"), ("roe.mp4", "mp4v"), ("roe.mov", "mp4v"),
         ("roe.mkv", "mp4v"), ("roe.webm", "VP80"), ("roe.wmv", "WMV2")]  # fmt: skip


def write_video(path, frames, codec, rate=40.0):
    """Write gray (T, H, W) or BGR (T, H, W, 3) frames."""
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def video_luma(path, indices):
    return video_frames(path, indices, cv2.COLOR_BGR2GRAY)


def refusal(path):
    with pytest.raises(ClipRefused) as error:
        video_header(path)
    assert path.stem not in error.value.message
    return error.value


@pytest.fixture(scope="module")
def smooth_fan():
    """A moving fan whose speckle is coarse enough for a video codec."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in fan(frames=30)])


@pytest.mark.parametrize(("name", "codec"), KINDS, ids=[f"{n}-{c}" for n, c in KINDS])
def test_a_video_gives_size_times_and_luma(tmp_path, smooth_fan, name, codec, capfd):
    path = write_video(tmp_path / name, smooth_fan, codec)
    capfd.readouterr()
    header = video_header(path)
    assert (header.rows, header.columns, header.frames, header.aspect) == (240, 320, 30, 1.0)
    np.testing.assert_allclose(header.timing.times_s, np.arange(30) / 40, atol=0.002)
    luma = list(video_luma(path, range(30)))
    assert {(frame.shape, frame.dtype) for frame in luma} == {((240, 320), np.dtype(np.uint8))}
    error = np.abs(np.stack(luma).astype(int) - smooth_fan).mean()
    assert error < 4
    assert capfd.readouterr() == ("", "")


def test_frames_are_picked_by_number(tmp_path, smooth_fan):
    path = write_video(tmp_path / "roe.mp4", smooth_fan, "mp4v")
    whole = list(video_luma(path, range(30)))
    for index, frame in zip((0, 7, 8, 29), video_luma(path, [0, 7, 8, 29]), strict=True):
        np.testing.assert_array_equal(frame, whole[index])
    with pytest.raises(ClipRefused, match="frame 31 cannot"):
        list(video_luma(path, [3, 30]))


def test_colour_is_red_first_and_can_be_reduced(tmp_path):
    frames = np.zeros((4, 102, 150, 3), np.uint8)
    frames[:, :, 75:] = (0, 0, 255)  # red in OpenCV's order
    path = write_video(tmp_path / "roe.avi", frames, "MJPG")
    (whole,) = decode_rgb(video_header(path), [1])
    (small,) = decode_rgb(video_header(path), [1], reduction=4)
    assert (whole.shape, small.shape) == ((102, 150, 3), (26, 38, 3))
    for image in (whole, small):
        assert image[10, -3, 0] > 230
        assert image[10, -3, 1:].max() < 40
        assert image[10, 3].max() < 20
    (luma,) = LumaFrames(video_header(path)).pick([1])
    assert abs(int(luma[50, 140]) - 76) <= 3  # 0.299 · 255


@pytest.mark.parametrize("rate", [3, 1500])
def test_a_rate_that_no_scanner_has_is_no_timing(tmp_path, smooth_fan, rate):
    path = write_video(tmp_path / "roe.avi", smooth_fan, "MJPG")
    data = bytearray(path.read_bytes())
    header = data.index(b"strh") + 8  # the stream's header: its scale and rate stand at bytes 20 and 24
    data[header + 20 : header + 28] = (1).to_bytes(4, "little") + rate.to_bytes(4, "little")
    path.write_bytes(data)
    assert refusal(path).outcome is Outcome.NO_TIMING


def test_a_still_is_no_clip(tmp_path, smooth_fan):
    path = write_video(tmp_path / "roe.avi", smooth_fan[:1], "MJPG")
    assert refusal(path).outcome is Outcome.SINGLE_FRAME


def test_too_many_frames_and_too_large_a_file(tmp_path, monkeypatch):
    path = write_video(tmp_path / "roe.avi", np.zeros((2001, 32, 32), np.uint8), "MJPG", 100)
    assert refusal(path).outcome is Outcome.TOO_LARGE
    monkeypatch.setattr("cardio_mlflow.data.files.header_elements._MAX_FILE_BYTES", 100)
    assert "bytes" in refusal(path).message


@pytest.mark.parametrize(
    ("name", "codec"), [("roe.avi", "MJPG"), ("roe.mp4", "mp4v"), ("roe.mkv", "mp4v"), ("roe.wmv", "WMV2")]
)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_file_is_refused_unless_only_what_stands_behind_the_frames_is_lost(
    tmp_path, smooth_fan, name, codec, share
):
    path = write_video(tmp_path / name, smooth_fan, codec)
    whole = list(video_luma(path, range(30)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if share < 0.99:
        assert refusal(path).outcome in (Outcome.TRUNCATED, Outcome.BAD_VIDEO, Outcome.CORRUPT_FRAME)
        return
    with suppress(ClipRefused):
        np.testing.assert_array_equal(list(video_luma(path, range(video_header(path).frames))), whole)


def test_a_damaged_frame_is_refused(tmp_path, smooth_fan):
    path = write_video(tmp_path / "roe.avi", smooth_fan, "MJPG")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff\xd9" * 1000
    path.write_bytes(data)
    assert refusal(path).outcome is Outcome.CORRUPT_FRAME


@pytest.mark.parametrize(
    "content",
    [b"", b"not a video at all", b"#EXTM3U\n#EXTINF:10,\n{target}\n",
     b"ffconcat version 1.0\nfile '{target}'\n", b"http://127.0.0.1:9/x.avi",
     b"RIFF\x10\x00\x00\x00AVI LIST", b"RIFF\x08\x00\x00\x00AVI LIST",
     b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00", b"\x1a\x45\xdf\xa3" + b"\0" * 60,
     b"\x00\x00\x00\x08free" * 20_000],
)  # fmt: skip
@pytest.mark.parametrize("name", ["roe.avi", "roe%03d.mp4"])
def test_what_is_no_video_is_not_opened(tmp_path, smooth_fan, content, name):
    target = write_video(tmp_path / "roe001.mp4", smooth_fan, "mp4v")
    path = tmp_path / name
    path.write_bytes(content.replace(b"{target}", str(target).encode()))
    assert refusal(path).outcome in (Outcome.BAD_VIDEO, Outcome.TRUNCATED)


@pytest.mark.parametrize("name", ["roe%03d.avi", "concat:roe.avi|y.avi", "file:roe.avi", "rtsp:roe.avi"])
def test_a_name_is_never_taken_for_an_address_or_a_pattern(tmp_path, smooth_fan, name):
    path = write_video(tmp_path / "y.avi", smooth_fan, "MJPG").rename(tmp_path / name)
    assert video_header(path).frames == 30


def test_a_pipe_and_a_folder_are_refused_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "folder.avi").mkdir()
    for name in ("pipe.avi", "folder.avi", "absent.avi"):
        assert refusal(tmp_path / name).outcome is Outcome.BAD_VIDEO


def test_the_kind_is_told_by_the_name():
    assert is_video(Path("a.AVI"))
    assert not is_video(Path("avi"))


def damaged_video(folder, data):
    """A small video, of which a few bytes are changed."""
    path = folder / data.draw(st.sampled_from(["roe.avi", "roe.mp4"]))
    if not path.with_suffix(".sound").exists():
        frames = np.zeros((6, 48, 64), np.uint8)
        frames[:, 10:40, 10:40] = np.arange(6)[:, None, None] * 30
        codec = "MJPG" if path.suffix == ".avi" else "mp4v"
        write_video(path, frames, codec).rename(path.with_suffix(".sound"))
    content = bytearray(path.with_suffix(".sound").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as made:
        yield made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_ends_in_a_refusal(tmp_path, sandbox, data):
    """FFmpeg can die of a damaged video, so it is read where it dies alone."""
    path = damaged_video(tmp_path, data)
    with pytest.raises(ClipRefused) as refused:  # a square that grows brighter has no sector either
        sandbox.prepare(path)
    assert "program failed" not in refused.value.message
