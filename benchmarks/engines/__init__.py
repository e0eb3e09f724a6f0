"""One level's model in every engine that a host might run it in: same weights, same ids.

`forms` writes the model as each engine wants it, `systems` opens them, `worker` holds one in a
process of its own, `compare` measures all, `report` and `plot` show the results. Run by
`python -m benchmarks.engines.run`.
"""
