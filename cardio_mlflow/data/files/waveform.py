"""The ECG that stands as numbers in a clip's file."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_values import number_of, numbers_of, text_of
from cardio_mlflow.data.parsing import PARSING_FAULTS

Array = NDArray[np.float64]

_SAMPLES: Final = {"SB": "i1", "UB": "u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4"}
"""WaveformSampleInterpretation (5400,1006); the companded MB and AB are no ECG's."""
_MOST_GROUPS: Final = 8
_MOST_CHANNELS: Final = 64
_MOST_SAMPLES: Final = 4_000_000  # of all channels of a group
_SLOWEST_HZ: Final = 50.0
_FASTEST_HZ: Final = 50_000.0
_SHORTEST_S: Final = 0.3
_LARGEST_OFFSET_S: Final = 600.0
_LEAD_SCHEMES: Final = ("MDC", "SCPECG")
_LEAD_CODES: Final = ("2:", "5.6.3-9-", "MDC_ECG_")


def ecg_waveform(dataset: Dataset) -> tuple[Array, Array] | None:
    """ECG of a clip's Waveform Sequence (5400,0100), or None; of damaged groups none is read.

    The channel is one whose Channel Source Sequence (003A,0208) names an ECG lead, by code or by its
    meaning, lead II before others. Where no channel of a group names its source, the first one that is
    not constant is taken; a group that names its sources and has no ECG lead is passed over. The voltage
    is the sample times sensitivity and correction factor plus baseline, in the channel's own unit.

    The time of the group's first sample, relative to the clip's first frame, follows the first of these
    that is given: Multiplex Group Time Offset (0018,1068), ms after the acquisition's start, which is
    taken to be the first frame; Trigger Time Offset (0018,1069), ms after the trigger, taken to be the
    first frame as well; Trigger Sample Position (0018,106E), the sample counted from 1 that coincides
    with the trigger; otherwise 0. The channel's own Channel Time Skew (003A,0214), s, or Channel Sample
    Skew (003A,0215), samples, is added. An offset of more than ten minutes means that the group is not
    of this clip.

    Returns:
        Rising times in seconds since the first frame and the voltage, each shape (samples,).
    """
    try:
        groups = list(dataset.get("WaveformSequence") or [])[:_MOST_GROUPS]
    except PARSING_FAULTS:
        return None
    for group in groups:
        try:
            found = _read_group(group)
        except PARSING_FAULTS:
            continue
        if found is not None:
            return found
    return None


def _read_group(group: Dataset) -> tuple[Array, Array] | None:
    samples = _samples(group)
    frequency = number_of(group, "SamplingFrequency", 0.0)
    if samples is None or not _SLOWEST_HZ <= frequency <= _FASTEST_HZ:
        return None
    if len(samples) < _SHORTEST_S * frequency:
        return None
    channels = list(group.get("ChannelDefinitionSequence") or [])[: samples.shape[1]]
    for number in _candidates(channels, samples.shape[1]):
        channel = channels[number] if number < len(channels) else Dataset()
        values = samples[:, number].astype(np.float64)
        kept = values != _padding(group)
        offset = _offset(group, channel, frequency)
        if abs(offset) <= _LARGEST_OFFSET_S and kept.sum() > 1 and np.ptp(values[kept]) > 0:
            times = offset + np.arange(len(values)) / frequency
            gain = number_of(channel, "ChannelSensitivity", 1.0)
            gain *= number_of(channel, "ChannelSensitivityCorrectionFactor", 1.0)
            return times[kept], values[kept] * (gain or 1.0) + number_of(channel, "ChannelBaseline", 0.0)
    return None


def _samples(group: Dataset) -> NDArray[np.generic] | None:
    """The group's samples, shape (samples, channels), or None when sizes and data disagree."""
    kind = _SAMPLES.get(text_of(group, "WaveformSampleInterpretation"))
    count, channels = (
        int(number_of(group, key, 0.0)) for key in ("NumberOfWaveformSamples", "NumberOfWaveformChannels")
    )
    if kind is None or not 0 < channels <= _MOST_CHANNELS or not 0 < count * channels <= _MOST_SAMPLES:
        return None
    form = np.dtype(kind)
    data = group.get("WaveformData")
    allocated = number_of(group, "WaveformBitsAllocated", 8.0 * form.itemsize)
    needed = count * channels * form.itemsize
    if not isinstance(data, bytes) or len(data) < needed or allocated != 8 * form.itemsize:
        return None
    return np.frombuffer(data, form, count * channels).reshape(count, channels)


def _padding(group: Dataset) -> float:
    """The value of samples that are none (5400,100A); no number where none is given."""
    padding = group.get("WaveformPaddingValue")
    form = np.dtype(_SAMPLES[text_of(group, "WaveformSampleInterpretation")])
    given = isinstance(padding, bytes) and len(padding) >= form.itemsize
    return float(np.frombuffer(padding, form, 1)[0]) if given else np.nan


def _candidates(channels: list[Dataset], count: int) -> list[int]:
    """Channels that may be the ECG, best first."""
    sources = [_source(channel) for channel in channels]
    if not any(code or meaning for code, meaning in sources):
        return list(range(count))
    leads = [i for i, (code, meaning) in enumerate(sources) if _is_lead(code, meaning)]
    return sorted(leads, key=lambda i: not _is_second_lead(*sources[i]))


def _source(channel: Dataset) -> tuple[str, str]:
    """Code, its scheme before it, and meaning of a channel's source, in capitals; empty when not given."""
    source = next(iter(channel.get("ChannelSourceSequence") or []), Dataset())
    scheme, code = text_of(source, "CodingSchemeDesignator"), text_of(source, "CodeValue")
    return f"{scheme} {code}".strip().upper(), text_of(source, "CodeMeaning").upper()


def _is_lead(code: str, meaning: str) -> bool:
    scheme, _, value = code.partition(" ")
    coded = scheme in _LEAD_SCHEMES and value.startswith(_LEAD_CODES)
    return coded or any(word in meaning.split() for word in ("LEAD", "ECG", "EKG")) or meaning == "II"


def _is_second_lead(code: str, meaning: str) -> bool:
    return code in ("MDC 2:2", "SCPECG 5.6.3-9-2", "MDC MDC_ECG_LEAD_II") or meaning.split()[-1:] == ["II"]


def _offset(group: Dataset, channel: Dataset, frequency: float) -> float:
    """Seconds from the first frame to a channel's first sample."""
    skew = number_of(channel, "ChannelTimeSkew", number_of(channel, "ChannelSampleSkew", 0.0) / frequency)
    for keyword in ("MultiplexGroupTimeOffset", "TriggerTimeOffset"):
        if given := numbers_of(group, keyword):
            return given[0] / 1000.0 + skew
    return (1.0 - number_of(group, "TriggerSamplePosition", 1.0)) / frequency + skew
