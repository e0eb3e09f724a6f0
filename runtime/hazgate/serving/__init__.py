"""One engine for many callers: a bounded, fair queue in front of a gate, and its server.

In `queue`, `backlog` chooses the next request, `batcher` runs the gate on a thread of its own, and
`async_gate` is for asyncio gateways. `service` adds the server's limits and reports; `http` and
`rpc` translate the dialects of gateways to it.
"""
