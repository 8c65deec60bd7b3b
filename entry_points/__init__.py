"""What MLproject runs: one module an entry point."""
