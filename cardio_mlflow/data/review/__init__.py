"""Pictures and pages to judge the preparation by."""
