"""The way in: from an export of a PACS or a scanner to a cohort folder."""
