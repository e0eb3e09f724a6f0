"""The README's first table: one row per system, five figures each."""

from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.tables import rows_of
from benchmarks.speed.workloads import BULK, TEXT


def first_screen(results: SpeedResults) -> str:
    """Return latency, speed-up, throughput, memory and changed decisions of every system."""
    rows = {(row.workload.name, row.system.name): row for row in rows_of(results)}
    cells = []
    for system in results.systems:
        text, bulk = rows[TEXT, system.name], rows[BULK, system.name]
        quality = system.quality
        cells.append(
            [
                system.title,
                f"{text.p50_ms.median:.1f}" if text.p50_ms else "–",
                f"{text.vs_baseline.median:.1f}×",
                f"{bulk.texts_per_s.median:.0f}",
                f"{system.peak_rss_bytes / 1e6:.0f}",
                f"{quality.decisions_changed} of {quality.n_texts}" if quality else "reference",
            ]
        )
    head = [
        "",
        "p50 ms of one text",
        "times as fast",
        "texts/s in bulk",
        "memory MB",
        "decisions changed",
    ]
    return table(head, cells)


REGIONS: Regions = {"first-screen": region("mini.json", SpeedResults, first_screen)}
