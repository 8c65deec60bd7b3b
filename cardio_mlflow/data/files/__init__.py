"""What a file holds: its checked header, timing, ECG waveform and pixels."""
