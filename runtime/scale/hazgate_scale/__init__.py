"""hazgate at scale: corpora on Ray, replicas on engines of others, Triton, capacity plans."""
