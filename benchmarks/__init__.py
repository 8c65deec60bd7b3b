"""What measures: speed, memory, and how much of the signal the network finds. Never a timed test."""
