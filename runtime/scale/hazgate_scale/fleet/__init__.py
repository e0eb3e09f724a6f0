"""The gate on engines that others run: replicas of Ray Serve, predictors of KServe.

Both answer by hazgate.serving: its batcher, its settings, its dialects.
"""
