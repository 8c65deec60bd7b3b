"""Heart rhythms, regular or not, and the electrocardiogram of them: its voltage, and as a file holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from cardio_mlflow.synthetic.scene import Array
from cardio_mlflow.synthetic.trace import WAVES

Waves = tuple[tuple[float, float, float], ...]
"""Waves of a beat: seconds from the R wave, height, width in seconds."""

NORMAL: Waves = WAVES
TALL_T: Waves = (*WAVES[:4], (0.27, 1.2, 0.055))
INVERTED: Waves = ((-0.16, 0.10, 0.022), (0.0, -1.0, 0.012), (0.035, 0.15, 0.012), (0.27, 0.25, 0.045))
INVERTED_TALL_T: Waves = ((-0.16, 0.10, 0.022), (0.0, -1.0, 0.012), (0.27, 0.65, 0.055))
BIPHASIC: Waves = ((-0.16, 0.12, 0.022), (0.0, 0.85, 0.011), (0.028, -0.75, 0.012), (0.27, 0.22, 0.045))
FIBRILLATING: Waves = WAVES[1:]
"""No P wave in atrial fibrillation."""
ECTOPIC: Waves = ((0.0, 1.25, 0.030), (0.09, -0.35, 0.04), (0.27, -0.45, 0.06))
"""A ventricular beat: wide, no P wave, T wave against the QRS complex."""

_BEFORE = 9.0
_AFTER = 2.5


@dataclass(frozen=True)
class Rhythm:
    """The beats before, in and after a clip.

    Attributes:
        beats: (B,) R-wave times, seconds from the first frame, rising.
        ectopic: (B,) which beats start in a ventricle.
    """

    beats: Array
    ectopic: Array

    def phases(self, times: Array) -> Array:
        """Cycle phase at times (T,), seconds: 0 at an R wave, just below 1 before the next."""
        return np.asarray(np.mod(np.interp(times, self.beats, np.arange(len(self.beats))), 1.0))

    def within(self, end: float) -> Array:
        """R waves from the first frame to `end`, seconds."""
        return self.beats[(self.beats >= 0) & (self.beats <= end)]


def regular(rng: np.random.Generator, seconds: float, interval: float) -> Rhythm:
    """Beats an interval (s) apart, but for 2 % of normal variability."""
    count = int((seconds + _BEFORE + _AFTER) / interval) + 3
    intervals = interval * (1 + rng.normal(0, 0.02, count).clip(-0.05, 0.05))
    return _placed(rng, intervals, np.zeros(count + 1, dtype=bool))


def fibrillation(rng: np.random.Generator, seconds: float) -> Rhythm:
    """Atrial fibrillation: intervals between 0.5 and 1.2 s without any order."""
    count = int((seconds + _BEFORE + _AFTER) / 0.7) + 3
    return _placed(rng, rng.uniform(0.5, 1.2, count), np.zeros(count + 1, dtype=bool))


def with_ectopic_beat(rng: np.random.Generator, seconds: float, interval: float) -> Rhythm:
    """Regular beats, one within the clip premature and followed by a compensatory pause."""
    rhythm = regular(rng, seconds, interval)
    inside = np.flatnonzero((rhythm.beats > 0.1) & (rhythm.beats < seconds - 1.3 * interval))
    chosen = int(rng.choice(inside[1:] if len(inside) > 1 else inside))
    beats, ectopic = rhythm.beats.copy(), rhythm.ectopic.copy()
    beats[chosen] = round(beats[chosen - 1] + rng.uniform(0.55, 0.68) * interval, 6)
    ectopic[chosen] = True
    return Rhythm(beats, ectopic)


def _placed(rng: np.random.Generator, intervals: Array, ectopic: Array) -> Rhythm:
    beats = np.concatenate([[0.0], np.cumsum(intervals)])
    first = int(np.searchsorted(beats, _BEFORE))
    start = beats[first] - rng.uniform(0.06, 0.7) * intervals[first - 1]
    return Rhythm(np.round(beats - start, 6), ectopic)


def voltage(times: Array, rhythm: Rhythm, waves: Waves, fibrillating: bool = False) -> Array:
    """Voltage relative to a normal R wave at rising times (N,), seconds.

    Every wave is a Gaussian (McSharry et al., IEEE Trans Biomed Eng 2003, without their slow waves).
    """
    out = np.zeros_like(times)
    for beat, ectopic in zip(rhythm.beats, rhythm.ectopic, strict=True):
        near = slice(*np.searchsorted(times, (beat - 0.35, beat + 0.55)))
        for at, height, width in ECTOPIC if ectopic else waves:
            out[near] += height * np.exp(-0.5 * ((times[near] - beat - at) / width) ** 2)
    if fibrillating:
        out += 0.05 * np.sin(2 * np.pi * 5.7 * times) + 0.03 * np.sin(2 * np.pi * 8.3 * times + 1.0)
    return out


_HERTZ = 500
_LEAD_IN = 0.4
"""Seconds by which the record begins before the first frame."""
_PER_UNIT = 1000
"""Sample of an R wave."""


def waveform_sequence(rhythm: Rhythm, duration: float) -> DicomSequence:
    """Record lead II of a clip of a duration, seconds, from a little before its first frame."""
    times = np.arange(-_LEAD_IN, duration + 0.2, 1 / _HERTZ)
    samples = np.round(voltage(times, rhythm, NORMAL) * _PER_UNIT).astype("<i2")
    group = Dataset()
    group.MultiplexGroupTimeOffset = -_LEAD_IN * 1000
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
