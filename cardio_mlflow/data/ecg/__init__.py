"""The ECG of a clip: from a waveform in its file or read off the trace drawn on the screen."""
