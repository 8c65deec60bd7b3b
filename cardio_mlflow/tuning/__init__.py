"""Tuning of the learning rates with Optuna: what is searched, how, and where the trials are kept."""
