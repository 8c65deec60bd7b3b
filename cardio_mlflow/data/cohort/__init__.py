"""Who takes part: the label sheet, the clip files, folds and pseudonyms."""
