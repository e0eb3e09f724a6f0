"""Preflight: tells without its hardware if an execution provider takes a whole graph."""
