"""What is drawn over the tissue: found, and painted over."""
