"""Corpora on Ray: files of texts in, Parquet with verdicts out, each row exactly once.

A run first cuts every input file into *shards* and keeps their list with the output. A worker
writes a shard's part under a temporary name and renames it, so a part is complete or absent. An
interrupted run continues with the shards that have no part.
"""
