"""Where the heart is in the picture: the sector, what lies over it, the crop."""
