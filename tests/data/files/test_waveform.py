"""The Waveform Sequence: hand-made ones, and ones that hypothesis damages."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from cardio_mlflow.data.cycle.ecg import find_r_waves
from cardio_mlflow.data.files.waveform import ecg_waveform
from cardio_mlflow.data.parsing import pydicom_silenced
from tests.data.cycle.hearts import beats, voltage
from tests.data.small_clips import dataset

RATE, SAMPLES = 500, 1500
BEATS = beats(0.2, 2.8)
ECG = np.rint(1000 * voltage(np.arange(SAMPLES) / RATE, BEATS)).astype(np.int16)


def _channel(code="", meaning="", scheme="MDC", **elements):
    source = dataset(CodeValue=code, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
    return dataset(ChannelSourceSequence=[source] if code or meaning else None, **elements)


def _group(samples=ECG, channels=(), **elements):
    samples = samples.reshape(len(samples), -1)
    kinds = {"i1": "SB", "u1": "UB", "i2": "SS", "u2": "US", "i4": "SL"}
    sound = {
        "WaveformSampleInterpretation": kinds[samples.dtype.str[1:]],
        "WaveformBitsAllocated": 8 * samples.dtype.itemsize,
        "NumberOfWaveformSamples": samples.shape[0], "NumberOfWaveformChannels": samples.shape[1],
        "SamplingFrequency": RATE, "ChannelDefinitionSequence": list(channels),
        "WaveformData": samples.tobytes(),
    }  # fmt: skip
    return dataset(**sound | elements)


def _file(*groups):
    return dataset(WaveformSequence=list(groups))


def test_times_and_voltage_are_those_of_the_file():
    times, values = ecg_waveform(_file(_group()))
    np.testing.assert_allclose(times, np.arange(SAMPLES) / RATE)
    np.testing.assert_array_equal(values, ECG)
    assert np.abs(find_r_waves(times, values) - BEATS).max() < 0.004


@pytest.mark.parametrize("form", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_every_kind_of_sample(form):
    samples = (ECG // 16 + (40 if np.iinfo(form).min == 0 else 0)).astype(form)
    np.testing.assert_array_equal(ecg_waveform(_file(_group(samples)))[1], samples)


@pytest.mark.parametrize(
    ("elements", "skew", "first_s"),
    [
        ({}, {}, 0.0),
        ({"MultiplexGroupTimeOffset": "-250"}, {}, -0.25),
        ({"TriggerTimeOffset": "100"}, {}, 0.1),
        ({"TriggerSamplePosition": 251}, {}, -0.5),
        (
            {"MultiplexGroupTimeOffset": "40", "TriggerTimeOffset": "100", "TriggerSamplePosition": 251},
            {},
            0.04,
        ),
        ({"MultiplexGroupTimeOffset": "100"}, {"ChannelTimeSkew": "0.012"}, 0.112),
        ({"MultiplexGroupTimeOffset": "100"}, {"ChannelSampleSkew": "5"}, 0.11),
        ({"MultiplexGroupTimeOffset": "100"}, {"ChannelTimeSkew": "0.02", "ChannelSampleSkew": "5"}, 0.12),
    ],
)
def test_where_the_first_sample_lies(elements, skew, first_s):
    group = _group(channels=[_channel(**skew)], **elements)
    assert ecg_waveform(_file(group))[0][0] == pytest.approx(first_s)


def test_sensitivity_correction_and_baseline():
    channel = _channel(ChannelSensitivity="0.5", ChannelSensitivityCorrectionFactor="-2", ChannelBaseline="7")
    np.testing.assert_allclose(ecg_waveform(_file(_group(channels=[channel])))[1], 7.0 - ECG)


def test_padding_is_left_out():
    samples = ECG.copy()
    samples[:100] = -32768
    group = _group(samples, WaveformPaddingValue=np.int16(-32768).tobytes())
    times, values = ecg_waveform(_file(group))
    assert times[0] == pytest.approx(100 / RATE)
    np.testing.assert_array_equal(values, ECG[100:])


TWO = np.stack([np.arange(SAMPLES) % 50, ECG], axis=1).astype(np.int16)


@pytest.mark.parametrize(
    "channels",
    [
        (_channel("2:1", "Lead I"), _channel("2:2", "Lead II")),
        (_channel("109016", "Respiration", "DCM"), _channel("MDC_ECG_LEAD_V1", "")),
        (_channel("X", "Pressure", "99X"), _channel("Y", "ECG Lead II", "99X")),
        (_channel("5.6.3-9-1", "", "SCPECG"), _channel("5.6.3-9-2", "", "SCPECG")),
        (_channel("X", "Phono", "99X"), _channel("Z", "II", "99X")),
    ],
)
def test_the_lead_is_chosen_by_its_source(channels):
    np.testing.assert_array_equal(ecg_waveform(_file(_group(TWO, channels)))[1], ECG)


def test_without_sources_the_first_channel_that_is_not_constant_is_taken():
    samples = np.stack([np.zeros(SAMPLES), ECG], axis=1).astype(np.int16)
    np.testing.assert_array_equal(ecg_waveform(_file(_group(samples)))[1], ECG)


def test_a_group_of_other_signals_is_passed_over():
    other = _group(TWO, [_channel("A", "Respiration", "99X"), _channel("B", "Pressure", "99X")])
    assert ecg_waveform(_file(other)) is None
    np.testing.assert_array_equal(ecg_waveform(_file(other, _group()))[1], ECG)


@pytest.mark.parametrize(
    "elements",
    [{"NumberOfWaveformSamples": SAMPLES + 1}, {"NumberOfWaveformChannels": 2},
     {"NumberOfWaveformSamples": 0}, {"NumberOfWaveformSamples": 2**31}, {"NumberOfWaveformChannels": 65},
     {"WaveformBitsAllocated": 8}, {"WaveformSampleInterpretation": "MB"},
     {"WaveformSampleInterpretation": None}, {"SamplingFrequency": "10"}, {"SamplingFrequency": "0"},
     {"SamplingFrequency": "1e9"}, {"SamplingFrequency": None}, {"WaveformData": b""},
     {"WaveformData": None}, {"MultiplexGroupTimeOffset": "700000"}],
)  # fmt: skip
def test_a_group_that_contradicts_itself_is_not_read(elements):
    assert ecg_waveform(_file(_group(**elements))) is None


def test_a_file_without_a_waveform_or_with_a_flat_one_has_none():
    for made in (Dataset(), _file(), _file(_group(np.full(SAMPLES, 3, np.int16)))):
        assert ecg_waveform(made) is None


_KEYWORDS = st.sampled_from([
    "WaveformSampleInterpretation", "WaveformBitsAllocated", "NumberOfWaveformSamples",
    "NumberOfWaveformChannels", "SamplingFrequency", "WaveformData", "WaveformPaddingValue",
    "MultiplexGroupTimeOffset", "TriggerTimeOffset", "TriggerSamplePosition", "ChannelDefinitionSequence",
])  # fmt: skip
_VALUES = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=6), st.binary(max_size=40), st.none(),
    st.lists(st.integers(-5, 5), max_size=3), st.just(Dataset()),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_KEYWORDS, _VALUES), min_size=1, max_size=3))
def test_damaged_groups_are_read_whole_or_not_at_all(damages):
    group = _group(channels=[_channel("2:2", "Lead II")])
    with pydicom_silenced():
        for keyword, value in damages:
            with suppress(ValueError, TypeError, OverflowError, AttributeError):  # what pydicom does not take
                setattr(group, keyword, value)
        found = ecg_waveform(_file(group))
    if found is not None:
        times, values = found
        assert times.shape == values.shape
        assert len(times) > 1
        assert np.isfinite(times).all()
        assert (np.diff(times) > 0).all()
        assert abs(times[0]) <= 601 + SAMPLES / 50
