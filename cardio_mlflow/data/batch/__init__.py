"""Many patients prepared, and the files that hold them."""
