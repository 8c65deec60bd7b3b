"""Preparation in a process of its own."""
