"""`python -m benchmarks.engines.operators`: the time of one text, by operator.

ONNX Runtime's own profiler times every node of every run, in the session that the runtime opens.
The table also has the time that the text's multiplications alone would take at the best rate of
the machine's matrix kernels: no arrangement of these kernels can be faster.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.engines.compare import shape_of
from benchmarks.engines.peak import measure_peak
from benchmarks.engines.results import ModelShape
from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import VariantSpec
from hazgate.cli.progress import track
from hazgate.engine.processor import n_processors
from hazgate.engine.providers.table import CPU
from hazgate.engine.session import session_options

_LENGTHS = {"mini": (16, 128, 256), "full": (16, 128, 512, 2048)}
# Operators by the group that a reader knows; all others are "the rest".
_GROUPS = {
    "products of weights": ("MatMul", "FusedMatMul", "Gemm", "MatMulIntegerToFloat", "Linear"),
    "products of weights, scales a run": ("DynamicQuantizeMatMul", "MatMulNBits"),
    "attention": ("MultiHeadAttention", "GroupQueryAttention", "Softmax", "Attention"),
    "rotary positions": ("RotaryEmbedding",),
    "norms": ("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization"),
    "scales and rounding": (
        "QuantizeLinear",
        "DequantizeLinear",
        "Abs",
        "ReduceMax",
        "Round",
        "Cast",
        "Clip",
        "Div",
    ),
    "activation": ("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Erf", "Tanh"),
    "additions and multiplications": ("Add", "Mul", "Sub"),
    "copies": ("Transpose", "Reshape", "Concat", "Slice", "Gather", "Split", "Expand", "Pad"),
}
_REST = "the rest"


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthProfile:
    """One variant at one length: milliseconds of a text by group of operators, medians of runs.

    `products_at_peak_ms` is the time of its multiplications at the peak of its own precision.
    """

    variant: str
    tokens: int
    n_runs: int
    operators_ms: Mapping[str, float]
    products_at_peak_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorProfile:
    """All that one run measured."""

    header: ResultHeader
    level: str
    shape: ModelShape
    peak: Mapping[str, float]
    profiles: tuple[LengthProfile, ...]


def group_of(operator: str) -> str:
    """Return the group that a reader knows an operator by."""
    return next((name for name, found in _GROUPS.items() if operator in found), _REST)


def times_by_group(events: Sequence[Mapping[str, object]]) -> list[dict[str, float]]:
    """Return milliseconds of each run by group, from the profiler's events in file order.

    A run ends with its `model_run` event. An `If` is left out, because the nodes of its branch
    have events of their own.
    """
    runs: list[dict[str, float]] = [{}]
    for event in events:
        arguments = event.get("args")
        if event.get("name") == "model_run":
            runs.append({})
        elif isinstance(arguments, Mapping) and event.get("cat") == "Node":
            timed = str(event.get("name", "")).endswith("_kernel_time")
            if timed and arguments["op_name"] != "If":
                group = group_of(str(arguments["op_name"]))
                spent = float(str(event["dur"])) / 1e3
                runs[-1][group] = runs[-1].get(group, 0.0) + spent
    return [run for run in runs if run]


def profile_level(path: Path, level: str, size: str, command: str) -> OperatorProfile:
    """Profile every variant of one level that was written for the CPU.

    Raises:
        HazgateError: the bundle cannot be opened.
        BenchmarkError: the peak could not be measured.
    """
    from transformers import AutoConfig

    bundle = Bundle.open(path)
    threads = n_processors()
    peak = measure_peak(threads)
    merged = REPOSITORY / "build" / "engines" / size / bundle.digest[:16] / "merged" / level
    if not merged.is_dir():
        raise BenchmarkError(
            "no merged model of this bundle: run python -m benchmarks.engines.run "
            f"--size {size} first"
        )
    config = AutoConfig.from_pretrained(merged)
    shape = shape_of(config)
    variants = bundle.manifest.levels[level].variants
    turns = [
        (name, tokens)
        for name, spec in variants.items()
        if spec.kind != "portable"
        for tokens in _LENGTHS[size]
    ]
    profiles = []
    for name, tokens in track(turns, f"profile {bundle.manifest.name}"):
        precision = "int8" if variants[name].precision == "int8" else "fp32"
        runs = _profile(bundle, variants[name], tokens, config.vocab_size, threads)
        groups = {group for run in runs for group in run}
        profiles.append(
            LengthProfile(
                variant=name,
                tokens=tokens,
                n_runs=len(runs),
                operators_ms={
                    group: float(np.median([run.get(group, 0.0) for run in runs]))
                    for group in groups
                },
                products_at_peak_ms=1e3 * shape.operations(tokens) / peak[precision],
            )
        )
    return OperatorProfile(
        header=header(bundle.manifest.name, command, digest=bundle.digest, threads=threads),
        level=level,
        shape=shape,
        peak=peak,
        profiles=tuple(profiles),
    )


def operator_table(results: OperatorProfile) -> str:
    """Return each group's share in the time of a text, in Markdown."""
    groups = [*_GROUPS, _REST]
    shown = [g for g in groups if any(p.operators_ms.get(g, 0) > 0 for p in results.profiles)]
    body = []
    for profile in results.profiles:
        total = sum(profile.operators_ms.values())
        body.append(
            (
                f"{profile.variant}, {profile.tokens} tokens",
                f"{total:.1f}",
                f"{profile.products_at_peak_ms:.1f}",
                *(f"{profile.operators_ms.get(group, 0) / total:.0%}" for group in shown),
            )
        )
    head = ("", "ms in operators", "ms of products at peak", *shown)
    peak = ", ".join(f"{kind} {value / 1e9:.0f} G/s" for kind, value in results.peak.items())
    run = results.header
    return (
        f"`{run.name}`, {results.level}, {run.threads} threads on {run.host.summary}; matrix "
        f"kernels reach {peak} there. {run.origin}\n\n{table(head, body)}"
    )


def _profile(
    bundle: Bundle, variant: VariantSpec, tokens: int, vocab_size: int, threads: int
) -> list[dict[str, float]]:
    import onnxruntime

    ids = np.random.default_rng(0).integers(vocab_size, size=(1, tokens), dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(onnxruntime, variant.kind, threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "ort")
        graph = str(bundle.file(variant.graph))
        session = onnxruntime.InferenceSession(graph, options, providers=[CPU])
        for _ in range(max(5, min(30, 4096 // tokens))):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    # The first run allocates what the others use again.
    return times_by_group(events)[1:]


@click.command(epilog="Example: python -m benchmarks.engines.operators --size full")
@click.option("--size", type=click.Choice(["mini", "full"]), default="mini", show_default=True)
@click.option("--level", default="level2", show_default=True)
@refusals()
def operators(size: str, level: str) -> None:
    """Profile `build/mini`, or with `full` the bundle of `make rehearse`, and print the table.

    Run the engines' benchmark first: the shape is read from its merged model.
    """
    path = REPOSITORY / "build" / ("rehearsal/bundle" if size == "full" else "mini")
    results = profile_level(
        path.resolve(), level, size, f"python -m benchmarks.engines.operators --size {size}"
    )
    publish(results, RESULTS / f"operators-{size}.json", operator_table)


REGIONS: Regions = {
    "operators-full": region("operators-full.json", OperatorProfile, operator_table)
}


if __name__ == "__main__":
    operators()
