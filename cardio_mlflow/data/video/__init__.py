"""Clips in video files."""
