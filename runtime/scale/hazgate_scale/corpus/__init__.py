"""Corpora: files of texts in, Parquet with verdicts out, on Ray; each row exactly once.

A run is planned once: every input file is divided into *shards*, and the plan is kept beside the
output. Whoever scores a shard writes its part under a temporary name and renames it, so a part is
there whole or not at all, and a run that was interrupted goes on with the shards that have none.
"""
