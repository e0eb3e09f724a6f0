"""Attacks on a running server, beside honest requests whose latency and losses count.

`python -m benchmarks.attacks build/mini` runs each attack from a process and an address of its own
(127.0.0.2), while another process asks short texts at a steady rate. Every attack comes right after
a quiet turn of the same length, so that both saw the same machine. `--runtime` attacks the server
of another checkout, e.g. of a release, and `--before` puts its figures beside these.
"""
