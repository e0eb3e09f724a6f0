"""Servers that people use instead of hazgate, each a program of its own."""
