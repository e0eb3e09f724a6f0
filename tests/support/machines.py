"""A machine that no benchmark ran on, for results that are made up."""

from benchmarks.harness.machine import Machine

TOY = Machine(cpu="toy", isa=(), processors=2, memory_gb=1, is_virtual=False, os="toy", versions={})
