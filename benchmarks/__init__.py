"""Figures, not tests: `make bench` prints them, as ratios where there is a peer."""
