"""From a cohort folder to prepared clips and folds."""
