"""Calibration: temperatures and thresholds from labelled texts, as a policy file.

Values are fitted on one half of the groups and measured on the other.
"""
