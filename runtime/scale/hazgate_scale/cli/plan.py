"""`hazgate plan`: plan the capacity that a traffic needs, and its cost."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.table import Table

from hazgate.cli.buckets import read_lengths
from hazgate.cli.extras import requires
from hazgate.cli.progress import begin_tasks
from hazgate.documents.files import json_bytes, write_atomically
from hazgate.engine.processor import n_processors
from hazgate.errors import InputError

if TYPE_CHECKING:
    from hazgate_scale.capacity.plan import CapacityPlan, SimulatedRun
    from hazgate_scale.capacity.times import ServiceTimes, VariantTimes

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_POSITIVE = click.FloatRange(min=0, min_open=True)
_SHARE = click.FloatRange(min=0, max=1)

Origin = Literal["measured", "given", "assumed"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """A value that the capacity plan depends on, and its origin."""

    name: str
    value: str
    origin: Origin


@click.command(
    epilog="""\b
Examples:
  hazgate plan --qps 2000 --lengths lengths.jsonl --p99-ms 50
  hazgate plan --qps 20000 --lengths lengths.jsonl --p99-ms 500 --model mlcommons-standin
  hazgate plan --qps 500 --lengths lengths.jsonl --p99-ms 50 --measure build/mini --threads 1"""
)
@click.option("--qps", type=_POSITIVE, required=True, help="Texts a second, on average.")
@click.option(
    "--lengths",
    "lengths_file",
    type=_FILE,
    required=True,
    help='One text per line: its tokens as a number or {"tokens": N}, special tokens included.',
)
@click.option(
    "--p99-ms", type=_POSITIVE, required=True, help="Bound that 99 % of all texts must keep."
)
@click.option(
    "--model", default="mini", show_default=True, help="Model with times in this package."
)
@click.option("--times", "times_file", type=_FILE, help="File of service times to use instead.")
@click.option("--measure", type=_PATH, help="Bundle to measure on this host instead.")
@click.option("--variant", help="Variant of the model.  [default: the fastest on these lengths]")
@click.option("--provider", default="cpu", show_default=True, help="Provider to --measure with.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of a worker, with --measure.  [default: every processor]",
)
@click.option("--save-times", type=_PATH, help="File to save measured times to, for --times.")
@click.option(
    "--flagged-share",
    type=_SHARE,
    default=0.1,
    show_default=True,
    help="Share of texts that are flagged; Level 2 reads them too.",
)
@click.option(
    "--window-tokens",
    type=click.IntRange(min=1),
    help="Tokens of a window of long texts.  [default: the model's]",
)
@click.option(
    "--routing",
    type=click.Choice(["random", "two-choices", "least-outstanding"]),
    default="two-choices",
    show_default=True,
    help="Choice of a request's worker.",
)
@click.option(
    "--burst-factor",
    type=click.FloatRange(min=1),
    default=1,
    show_default=True,
    help="Ratio of the rate in a burst to the rate between bursts.",
)
@click.option(
    "--burst-s", type=_POSITIVE, default=0.2, show_default=True, help="Mean length of a burst."
)
@click.option(
    "--burst-period-s",
    type=_POSITIVE,
    default=2,
    show_default=True,
    help="Mean time between bursts.",
)
@click.option(
    "--survive",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Workers that may fail without breaking the bound.",
)
@click.option(
    "--roll-out",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Workers rolled out at once.",
)
@click.option(
    "--timeout-ms",
    type=_POSITIVE,
    default=2000,
    show_default=True,
    help="Time after which an answer is useless.",
)
@click.option(
    "--detection-s",
    type=click.FloatRange(min=0),
    default=1,
    show_default=True,
    help="Time that routers go on sending to a worker that has ended.",
)
@click.option(
    "--units-per-host",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Cores or GPUs of a host.",
)
@click.option(
    "--bandwidth-gbit",
    type=_POSITIVE,
    default=10,
    show_default=True,
    help="Gbit/s of the source that hosts fetch the bundle from.",
)
@click.option(
    "--price-per-core-hour",
    "--price-per-gpu-hour",
    "price",
    type=_POSITIVE,
    default=0.05,
    show_default=True,
    help="Price in any currency.",
)
@click.option(
    "--requests",
    type=click.IntRange(min=1000),
    default=200_000,
    show_default=True,
    help="Fewest requests to simulate per number of workers.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
@click.pass_context
def plan(
    context: click.Context,
    qps: float,
    lengths_file: Path,
    p99_ms: float,
    model: str,
    times_file: Path | None,
    measure: Path | None,
    variant: str | None,
    provider: str,
    threads: int | None,
    save_times: Path | None,
    flagged_share: float,
    window_tokens: int | None,
    routing: Literal["random", "two-choices", "least-outstanding"],
    burst_factor: float,
    burst_s: float,
    burst_period_s: float,
    survive: int,
    roll_out: int,
    timeout_ms: float,
    detection_s: float,
    units_per_host: int,
    bandwidth_gbit: float,
    price: float,
    requests: int,
    seed: int,
    as_json: bool,
) -> None:
    """Plan the capacity for QPS texts a second with --lengths: workers, hosts and costs.

    Service times are measured: those of this package, --times or --measure. The capacity plan has
    the fewest workers that keep the bound in a simulated fleet with the queue of `hazgate serve`.
    It does not count network, routers and other load of the hosts.
    """
    sources = [name for name in ("model", "times_file", "measure") if _is_given(context, name)]
    if len(sources) > 1:
        raise click.UsageError("give one of --model, --times and --measure")
    if measure is None and (save_times or _is_given(context, "threads")):
        raise click.UsageError("--save-times and --threads need --measure")
    with requires("plan", {"hazgate-scale[plan]": ("simpy",)}):
        from hazgate_scale.capacity.bill import Prices
        from hazgate_scale.capacity.plan import Demand, plan_capacity, variant_of
        from hazgate_scale.capacity.times import ServiceTimes
        from hazgate_scale.capacity.traffic import Bursts
    lengths = read_lengths(lengths_file)
    with begin_tasks() as begin:
        if measure is not None:
            from hazgate_scale.capacity.measure import WorkerSetup, measure_times

            host = WorkerSetup(
                variant=variant, provider=provider, threads=threads or n_processors()
            )
            times = measure_times(measure, host, begin)
            if save_times:
                write_atomically(save_times, json_bytes(times))
        elif times_file is not None:
            times = ServiceTimes.load(times_file)
        else:
            times = ServiceTimes.of_model(model)
        if times.unit == "gpu" and not _is_given(context, "price"):
            raise click.UsageError("these times are for a GPU: give its --price-per-gpu-hour")
        if window_tokens is not None:
            times = _with_windows(times, window_tokens)
        demand = Demand(
            qps=qps,
            p99_ms=p99_ms,
            flagged_share=flagged_share,
            bursts=None
            if burst_factor == 1
            else Bursts(factor=burst_factor, mean_s=burst_s, period_s=burst_period_s),
            n_survive=survive,
            n_roll_out=roll_out,
            routing=routing,
            timeout_s=timeout_ms / 1e3,
            detection_s=detection_s,
            n_requests=requests,
            seed=seed,
        )
        prices = Prices(
            units_per_host=units_per_host, bandwidth_gbit_s=bandwidth_gbit, per_unit_hour=price
        )
        found = plan_capacity(times, variant, lengths, demand, prices, begin)
    assumptions = [
        *_measured(times, variant_of(times, found.variant)),
        *_from_options(context, len(lengths)),
    ]
    if as_json:
        click.echo(json_bytes({"plan": found, "assumptions": assumptions}).decode(), nl=False)
        return
    console = Console()
    console.print(_answer_table(found, qps, p99_ms))
    console.print(_runs_table(found))
    console.print(_assumption_table(assumptions))


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _with_windows(times: "ServiceTimes", window_tokens: int) -> "ServiceTimes":
    windows = times.windows
    least = windows.special_tokens + windows.overlap_tokens
    if window_tokens <= least:
        raise InputError(
            f"windows must be over {least} tokens, overlap and special tokens, got {window_tokens}"
        )
    close = windows.close_tokens
    changed = dataclasses.replace(
        windows,
        window_tokens=window_tokens,
        close_tokens=close if close is not None and close < window_tokens else None,
    )
    return dataclasses.replace(times, windows=changed)


def _measured(times: "ServiceTimes", variant: "VariantTimes") -> Iterator[Assumption]:
    unit = times.unit
    facts = {
        "service times": f"{times.model} on {times.machine}, {times.date}",
        "a worker": f"{times.units_per_worker} {unit}{'s' * (times.units_per_worker > 1)}",
        "Level 1": variant.level1.source,
        "Level 2": variant.level2.source,
        "text outside the model": f"{variant.text_ms:.2f} ms",
        "cold start": f"{variant.cold_start_s:.2f} s",
        "resident, unshared": (
            f"{variant.rss_bytes / 1e6:.0f} MB, {variant.unshared_bytes / 1e6:.0f} MB"
        ),
        "bundle": f"{variant.bundle_bytes / 1e6:.0f} MB",
    }
    for name, value in facts.items():
        yield Assumption(name=name, value=value, origin="measured")


def _from_options(context: click.Context, n_lengths: int) -> Iterator[Assumption]:
    """Yield every option that the capacity plan depends on."""
    yield Assumption(name="lengths", value=f"{n_lengths} texts", origin="given")
    silent = {"lengths_file", "model", "times_file", "measure", "save_times", "as_json"}
    silent |= {"provider", "threads", "variant"}
    if context.params["burst_factor"] == 1:
        silent |= {"burst_s", "burst_period_s"}
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if name in silent or value is None:
            continue
        origin: Origin = "given" if _is_given(context, name) else "assumed"
        text = f"{value:g}" if isinstance(value, float) else str(value)
        yield Assumption(name=parameter.opts[0].lstrip("-"), value=text, origin=origin)
    from hazgate_scale.capacity.search import MAX_UTILISATION
    from hazgate_scale.capacity.service import OPENED_WINDOWS_SHARE

    fixed = {
        "windows of a long flagged text that Level 2 reads": f"{OPENED_WINDOWS_SHARE:.0%}",
        "arrivals": "random, with the file's distribution of lengths",
        "texts shorter than any measured one": "take the time of the shortest",
        "queue of a worker": "the defaults of hazgate serve",
        "workers are busy": f"at most {MAX_UTILISATION:.0%} of the time",
    }
    for name, text in fixed.items():
        yield Assumption(name=name, value=text, origin="assumed")


def _answer_table(found: "CapacityPlan", qps: float, p99_ms: float) -> Table:
    bill, unit = found.bill, found.unit
    n_spare = found.n_workers - found.n_needed
    table = Table(title=f"{qps:g} texts a second, 99 % within {p99_ms:g} ms: {found.variant}")
    table.add_column("")
    table.add_column("", justify="right")
    rows = {
        "a text by itself, mean and longest": f"{found.mean_ms:.2f} ms, {found.longest_ms:.1f} ms",
        "workers": f"{found.n_workers}, of them {n_spare} spare",
        f"{unit}s": f"{bill.n_units}",
        "hosts": f"{bill.n_hosts}",
        "memory of a full host": f"{bill.host_memory_bytes / 1e9:.2f} GB",
        "time to copy the bundle to every host": f"{bill.distribution_s:.1f} s",
        "time to roll out every worker": f"{bill.roll_out_s:.0f} s",
        "cost per million texts": f"{bill.cost_per_million:.3f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _runs_table(found: "CapacityPlan") -> Table:
    table = Table(title="simulated; shares in percent")
    heads = ("workers", "p50 ms", "p99 ms", "answered", "shed", "late", "lost", "busy")
    table.add_column("", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    runs = {"needed": found.needed, "all": found.whole}
    if found.with_loss is not None:
        runs["with failures"] = found.with_loss
    for title, run in runs.items():
        table.add_row(title, *_run_cells(run))
    return table


def _run_cells(run: "SimulatedRun") -> tuple[str, ...]:
    shares = (run.answered_share, run.shed_share, run.expired_share, run.lost_share)
    return (
        f"{run.n_workers}",
        *("–" if ms is None else f"{ms:.1f}" for ms in (run.p50_ms, run.p99_ms)),
        *(f"{100 * share:.2f}" for share in shares),
        f"{100 * run.utilisation:.0f}",
    )


def _assumption_table(assumptions: list[Assumption]) -> Table:
    table = Table(title="assumptions")
    for head in ("", "value", "origin"):
        table.add_column(head)
    for one in assumptions:
        table.add_row(one.name, one.value, one.origin)
    return table
