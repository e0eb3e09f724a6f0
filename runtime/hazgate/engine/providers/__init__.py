"""Execution providers: a table of them, facts about this host, and the choice of one.

Only hazgate.engine.session talks to ONNX Runtime; this package has facts and decisions about it.
"""
