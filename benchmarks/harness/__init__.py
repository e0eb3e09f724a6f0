"""What every benchmark is made of: processes, turns, statistics, results, errors."""
