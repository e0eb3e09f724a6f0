"""A valid policy with every field of the format, for tests to spoil."""

POLICY = """\
schema_version = 1
name = "example"
mode = "loose"

[temperature]
gate = 1.4
hazards = 1.1

[gate]
controversial = 0.35
unsafe = 0.6

[hazards]
default = { action = "block", threshold = 0.4 }
S8_specialized_advice = { action = "flag", threshold = 0.3 }
S6_self_harm = { action = "block", threshold = 0.5, always = 0.9 }

[tenants.acme]
mode = "strict"
[tenants.acme.gate]
unsafe = 0.4
[tenants.acme.hazards]
S8_specialized_advice = { action = "allow" }
"""
