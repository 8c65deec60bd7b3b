"""Which frames are used: the drawn ECG, R waves and gating."""
