"""The user's folder: label sheet, clip files, names."""
