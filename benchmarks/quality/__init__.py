"""The cost of speed in decisions: agreement, thresholds, and a GPU's report."""
