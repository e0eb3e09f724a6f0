"""Parts that every benchmark is made of: runner, processes, statistics, results, commands."""
