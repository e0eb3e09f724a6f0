"""What speed costs in decisions: agreement, thresholds, a GPU's report."""
