"""Execution providers: a table of them, what this host has, and which one serves here.

ONNX Runtime itself is asked in hazgate.engine.session alone; here are facts and decisions about it.
"""
