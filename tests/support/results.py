"""Headers of results that no benchmark measured."""

from benchmarks.harness.machine import Machine
from benchmarks.harness.store import SCHEMA_VERSION, ResultHeader

TOY_MACHINE = Machine(
    cpu="toy", isa=("avx2",), processors=2, memory_gb=1, is_virtual=False, os="toy", versions={}
)


def toy_header(name: str = "mini", *, threads: int | None = 2) -> ResultHeader:
    """Return the header of a run on a machine that does not exist."""
    return ResultHeader(
        schema_version=SCHEMA_VERSION,
        name=name,
        digest="0" * 64,
        date="2026-01-01",
        command="make toy",
        machine=TOY_MACHINE,
        threads=threads,
    )
