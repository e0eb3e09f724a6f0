"""Temperatures and thresholds from labelled texts, written as a policy file.

What is fitted on one half of the groups is measured on the other.
"""
