"""Statistics computed from the predictions table alone."""
