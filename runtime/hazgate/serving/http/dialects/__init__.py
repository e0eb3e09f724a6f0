"""Each gateway's own words: a router a dialect, which asks the service and nothing else."""
