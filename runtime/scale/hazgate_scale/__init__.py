"""hazgate at scale: corpora on Ray, replicas on engines of others, Triton, capacity plans."""

__version__ = "0.1.0"
