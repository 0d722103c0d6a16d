"""Scores of forecasts: overlaps, distances, calibration, and their averages."""
