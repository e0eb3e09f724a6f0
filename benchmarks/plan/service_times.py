"""`python -m benchmarks.plan.service_times`: the plan's packaged times, from committed results.

Times of one level come from results of that level alone: Level 1 of `mini` from `make bench`'s
token counts, Level 2 from its comparison of engines. For the production model, both levels have
the times of the full-size stand-in's one level, which has the same encoder. Start and memory are
the footprint's.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.engines.long import LongComparison
from benchmarks.engines.results import EngineComparison
from benchmarks.harness.command import refusals
from benchmarks.harness.errors import ResultsError
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import RESULTS, ResultHeader, load
from benchmarks.load.results import LoadResults
from benchmarks.memory.footprint import Footprint
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.workloads import TEXT
from hazgate.bundle.manifest import Batching
from hazgate.documents.files import json_bytes, write_atomically
from hazgate_export.recipe_file import load_recipe
from hazgate_scale.capacity.times import (
    PACKAGED,
    SCHEMA_VERSION,
    LevelTimes,
    Point,
    RunSpread,
    ServiceTimes,
    VariantTimes,
    Windows,
)

# As the recipes export their variants; results do not have it.
_BATCHING: Mapping[str, Batching] = {
    "fp32": "padded",
    "int8": "equal_length",
    "int8-fused": "packed",
}
# The tokenizers of both models add one before a text and one after it.
_SPECIAL_TOKENS = 2


def service_times(folder: Path) -> Mapping[str, ServiceTimes]:
    """Return the service times of each model, made of the results in `folder`.

    Raises:
        ResultsError: results are missing or malformed, or times fall as token counts rise.
    """
    bench = load(SpeedResults, folder / "mini.json")
    engines = load(EngineComparison, folder / "engines-mini.json")
    full = load(EngineComparison, folder / "engines-full.json")
    longest = load(LongComparison, folder / "engines-long.json")
    asked = load(LoadResults, folder / "load-mini.json")
    n_tokens = asked.median_tokens + _SPECIAL_TOKENS
    mini: dict[str, VariantTimes] = {}
    standin: dict[str, VariantTimes] = {}
    for name, batching in _BATCHING.items():
        level1 = _of_bench(bench, f"onnx-{name}")
        text_ms = _beside_ms(bench, f"onnx-{name}", level1, n_tokens)
        mini[name] = _variant(
            load(Footprint, folder / "footprint-mini.json"),
            name,
            batching,
            level1=level1,
            level2=_of_engines(engines, f"hazgate-{name}"),
            spread=_spread_of_bench(bench, f"onnx-{name}"),
            text_ms=text_ms,
        )
        level = _with_longest(_of_engines(full, f"hazgate-{name}"), longest, f"hazgate-{name}")
        standin[name] = _variant(
            load(Footprint, folder / "footprint-full.json"),
            name,
            batching,
            level1=level,
            level2=level,
            spread=_spread_of_engines(full, f"hazgate-{name}"),
            # It depends on the host and the tokenizer, hardly on the model.
            text_ms=text_ms,
        )
    return {
        "mini": _times("mini", "mini", bench.header, mini),
        "mlcommons-standin": _times("mlcommons-standin", "mlcommons", full.header, standin),
    }


def _times(
    model: str,
    recipe: str,
    run: ResultHeader,
    variants: Mapping[str, VariantTimes],
) -> ServiceTimes:
    if run.threads is None:
        raise ResultsError(f"`{run.command}`: expected the number of threads, found none")
    tokenizer = load_recipe(REPOSITORY / "export" / "recipes" / f"{recipe}.toml").recipe.tokenizer
    return ServiceTimes(
        schema_version=SCHEMA_VERSION,
        model=model,
        date=run.date,
        machine=run.host.summary,
        unit="core",
        units_per_worker=run.threads,
        windows=Windows(
            special_tokens=_SPECIAL_TOKENS,
            window_tokens=tokenizer.window,
            overlap_tokens=tokenizer.overlap,
            close_tokens=tokenizer.close_tokens,
            sentences_from_tokens=tokenizer.sentences_from_tokens,
        ),
        variants=variants,
    )


def _variant(
    footprint: Footprint,
    name: str,
    batching: Batching,
    *,
    level1: LevelTimes,
    level2: LevelTimes,
    spread: RunSpread,
    text_ms: float,
) -> VariantTimes:
    (found,) = (one for one in footprint.variants if one.variant == name)
    return VariantTimes(
        batching=batching,
        level1=level1,
        level2=level2,
        spread=spread,
        text_ms=_rounded(text_ms),
        bundle_bytes=found.size_bytes,
        cold_start_s=_rounded(found.first_verdict_s.median),
        rss_bytes=int(found.rss_bytes.median),
        unshared_bytes=int(found.anonymous_bytes.median),
    )


def _of_bench(results: SpeedResults, system: str) -> LevelTimes:
    """Return Level 1 on given token counts: medians over the rounds' medians."""
    medians = {
        workload.tokens: statistics.median(
            figures.latency.p50_ms
            for figures in results.rounds
            if (figures.workload, figures.system) == (workload.name, system) and figures.latency
        )
        for workload in results.workloads
        if workload.tokens is not None
    }
    return _level(medians, results.header.command)


def _of_engines(results: EngineComparison, engine: str) -> LevelTimes:
    """Return one text at a time of each token count: medians over the rounds' medians."""
    medians: dict[int, float] = {}
    for workload in results.workloads:
        if workload.kind == "grid" and workload.n_texts == 1 and workload.tokens is not None:
            rounds = _seconds(results, engine, workload.name)
            if rounds:
                medians[workload.tokens] = 1e3 * statistics.median(map(statistics.median, rounds))
    return _level(medians, results.header.command)


def _with_longest(level: LevelTimes, results: LongComparison, engine: str) -> LevelTimes:
    (found,) = (one for one in results.engines if one.name == engine)
    medians = {point.tokens: point.ms for point in level.points}
    if found.seconds is not None:
        medians[results.tokens] = 1e3 * found.seconds.median
    return _level(medians, f"{level.source}; {results.header.command}")


def _level(medians: Mapping[int, float], command: str) -> LevelTimes:
    points = tuple(Point(tokens=n, ms=_rounded(ms)) for n, ms in sorted(medians.items()))
    for before, point in itertools.pairwise(points):
        if point.ms < before.ms:
            raise ResultsError(
                f"`{command}`: expected times that rise with tokens, found {point.tokens} tokens "
                f"faster ({point.ms} ms) than {before.tokens}; measure again"
            )
    return LevelTimes(points=points, source=command)


def _spread_of_bench(results: SpeedResults, system: str) -> RunSpread:
    names = {workload.name for workload in results.workloads if workload.tokens is not None}
    found = [
        figures.latency
        for figures in results.rounds
        if figures.workload in names and figures.system == system and figures.latency is not None
    ]
    return RunSpread(
        p5=_rounded(statistics.median(one.p5_ms / one.p50_ms for one in found)),
        p95=_rounded(statistics.median(one.p95_ms / one.p50_ms for one in found)),
        p99=_rounded(statistics.median(one.p99_ms / one.p50_ms for one in found)),
    )


def _spread_of_engines(results: EngineComparison, engine: str) -> RunSpread:
    ratios: list[float] = []
    for workload in results.workloads:
        if workload.kind == "grid" and workload.n_texts == 1:
            for seconds in _seconds(results, engine, workload.name):
                median = statistics.median(seconds)
                ratios += [one / median for one in seconds]
    p5, p95, p99 = (_rounded(float(p)) for p in np.percentile(ratios, [5, 95, 99]))
    return RunSpread(p5=p5, p95=p95, p99=p99)


def _seconds(results: EngineComparison, engine: str, workload: str) -> list[Sequence[float]]:
    return [
        one.seconds
        for one in results.rounds
        if one.engine == engine and one.workload == workload and one.seconds
    ]


def _beside_ms(results: SpeedResults, system: str, gate: LevelTimes, n_tokens: int) -> float:
    """Return the milliseconds of a real text besides its run.

    Times rise with lengths, so the median text has the time of the median length.
    """
    median_ms = statistics.median(
        figures.latency.p50_ms
        for figures in results.rounds
        if (figures.workload, figures.system) == (TEXT, system) and figures.latency
    )
    tokens = [point.tokens for point in gate.points]
    run_ms = float(np.interp(n_tokens, tokens, [point.ms for point in gate.points]))
    return max(0.0, median_ms - run_ms)


def _rounded(value: float) -> float:
    """Round to four significant digits; more would be noise."""
    return float(f"{value:.4g}")


@click.command(epilog="Example: python -m benchmarks.plan.service_times")
@refusals()
def main() -> None:
    """Write the service times that hazgate-scale's wheel contains."""
    made = service_times(RESULTS)
    PACKAGED.mkdir(exist_ok=True)
    for name, times in made.items():
        file = PACKAGED / f"{name}.json"
        write_atomically(file, json_bytes(times))
        click.echo(str(file))


if __name__ == "__main__":
    main()
