"""The gate on other people's serving systems: replicas on Ray Serve, predictors on KServe.

Both use hazgate.serving: its batcher, settings and dialects.
"""
