"""Tests of the widgets, with hand-made runs (`views.py`)."""
