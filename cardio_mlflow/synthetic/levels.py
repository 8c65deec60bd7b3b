"""Echo levels of the tissues, 0 to 255; what a level is in decibels is `speckle.LEVEL_DECIBELS`."""

from __future__ import annotations

BLOOD = 10
SURROUNDINGS = 84
MYOCARDIUM = 126
ATRIAL_WALL = 130
ENDOCARDIUM = 144
VALVE = 166
FIBROUS = 178
PERICARDIUM = 192
