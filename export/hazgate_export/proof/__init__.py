"""Proof that a graph answers as PyTorch does: texts, reference, limits."""
