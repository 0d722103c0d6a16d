"""Evaluation of soft labels: overlap and calibration against label maps."""
