"""One module per entry point, and what they share."""
