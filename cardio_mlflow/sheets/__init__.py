"""Sheets that a user brings, csv or xlsx, read as their spreadsheet shows them."""
