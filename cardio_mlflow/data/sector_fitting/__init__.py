"""Finding a clip's sector in its statistics."""
