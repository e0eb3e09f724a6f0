"""One engine for many callers: a bounded, fair queue in front of a gate, and what serves it.

Reads bottom-up: `backlog` says who is next, `batcher` runs the gate on a thread of its own, and
`async_gate` is what an asyncio gateway holds.
"""
