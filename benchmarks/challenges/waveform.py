"""An electrocardiogram as numbers in the file, as the Waveform module of DICOM holds it."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from benchmarks.challenges.rhythm import NORMAL, Rhythm, voltage

_HERTZ = 500
_BEFORE = 0.4
"""Seconds by which the record begins before the first frame."""
_PER_UNIT = 1000
"""Sample of an R wave."""


def waveform_sequence(rhythm: Rhythm, duration: float) -> DicomSequence:
    """Record lead II of a clip of a duration, seconds, from a little before its first frame."""
    times = np.arange(-_BEFORE, duration + 0.2, 1 / _HERTZ)
    samples = np.round(voltage(times, rhythm, NORMAL) * _PER_UNIT).astype("<i2")
    group = Dataset()
    group.MultiplexGroupTimeOffset = -_BEFORE * 1000
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 1, len(samples)
    group.SamplingFrequency = _HERTZ
    group.ChannelDefinitionSequence = DicomSequence([_lead_two()])
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = samples.tobytes()
    group["WaveformData"].VR = "OW"
    return DicomSequence([group])


def _lead_two() -> Dataset:
    source = Dataset()
    source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = "2:2", "MDC", "Lead II"
    channel = Dataset()
    channel.ChannelSourceSequence = DicomSequence([source])
    channel.ChannelSensitivity = 1 / _PER_UNIT
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 1, 0
    channel.WaveformBitsStored = 16
    return channel
