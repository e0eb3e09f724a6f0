"""`python -m benchmarks.readme`: fills a README's marked regions from results files.

A region is everything between `<!-- begin:NAME -->` and `<!-- end:NAME -->`, each on a line of
its own. What stands there is replaced; nothing else is touched.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from benchmarks.corpus.run import CorpusResults, corpus_table
from benchmarks.engines.long import LongComparison, long_table
from benchmarks.engines.operators import OperatorProfile, operator_table
from benchmarks.engines.report import headline, summary
from benchmarks.engines.results import EngineComparison
from benchmarks.engines.roofline.report import ceiling_table, roofline_table
from benchmarks.engines.roofline.results import Roofline
from benchmarks.engines.session_options import OptionComparison, option_table
from benchmarks.harness.errors import BenchmarkError, RegionError
from benchmarks.harness.store import RESULTS, Comparison, Rehearsal, load
from benchmarks.load.report import load_table
from benchmarks.load.results import LoadResults
from benchmarks.load.soak import SoakResults, soak_table
from benchmarks.memory.footprint import Footprint, footprint_table
from benchmarks.plan.plots import FleetPlots, plots_table
from benchmarks.plan.results import FleetResults, fleet_table
from benchmarks.quality.agreement import AgreementResults, agreement_text
from benchmarks.quality.gpu_report import merged_report
from benchmarks.quality.thresholds import (
    ThresholdResults,
    calibration_table,
    streams_table,
    thresholds_table,
)
from benchmarks.speed.first_screen import first_screen
from benchmarks.speed.tables import parity_summary, speed_summary
from hazgate_export.bundle.report import parity_table

_MARKER = re.compile(r"<!-- (begin|end):([a-z0-9-]+) -->")


def regions(folder: Path) -> Mapping[str, Callable[[], str]]:
    """For each region's name, what makes its contents from the results in `folder`."""
    return {
        "first-screen": lambda: first_screen(load(Comparison, folder / "mini.json")),
        "speed-mini": lambda: speed_summary(load(Comparison, folder / "mini.json")),
        "parity-mini": lambda: parity_summary(load(Comparison, folder / "mini.json")),
        "agreement-mini": lambda: agreement_text(
            load(AgreementResults, folder / "agreement-mini.json")
        ),
        "engines-mini": lambda: summary(load(EngineComparison, folder / "engines-mini.json")),
        "headline-full": lambda: headline(load(EngineComparison, folder / "engines-full.json")),
        "engines-full": lambda: summary(load(EngineComparison, folder / "engines-full.json")),
        "engines-long": lambda: long_table(load(LongComparison, folder / "engines-long.json")),
        "footprint-mini": lambda: footprint_table(load(Footprint, folder / "footprint-mini.json")),
        "footprint-full": lambda: footprint_table(load(Footprint, folder / "footprint-full.json")),
        "session-options-mini": lambda: option_table(
            load(OptionComparison, folder / "session-options-mini.json")
        ),
        "load-mini": lambda: load_table(load(LoadResults, folder / "load-mini.json")),
        "corpus": lambda: corpus_table(load(CorpusResults, folder / "corpus-mini.json")),
        "soak-mini": lambda: soak_table(load(SoakResults, folder / "soak-mini.json")),
        "fleet": lambda: fleet_table(load(FleetResults, folder / "fleet-mini.json")),
        "fleet-plots": lambda: plots_table(load(FleetPlots, folder / "fleet-plots.json")),
        "operators-full": lambda: operator_table(
            load(OperatorProfile, folder / "operators-full.json")
        ),
        "thresholds-mini": lambda: thresholds_table(
            load(ThresholdResults, folder / "thresholds-mini.json")
        ),
        "streams-mini": lambda: streams_table(
            load(ThresholdResults, folder / "thresholds-mini.json")
        ),
        "calibration-mini": lambda: calibration_table(
            load(ThresholdResults, folder / "thresholds-mini.json")
        ),
        "roofline": lambda: roofline_table(load(Roofline, folder / "roofline.json")),
        "ceiling-full": lambda: ceiling_table(
            load(Roofline, folder / "roofline.json"),
            load(EngineComparison, folder / "engines-full.json"),
        ),
        "amd-report": lambda: merged_report(folder / "amd-report.json"),
        "parity-rehearsal": lambda: parity_table(load(Rehearsal, folder / "rehearsal.json").parity),
    }


def fill(text: str, contents: Mapping[str, Callable[[], str]]) -> str:
    """`text` with each of its regions holding what `contents` gives for its name.

    Raises:
        RegionError: there is no region, or one is unknown, nested, given twice, or only begun or
            only ended; says the line.
    """
    lines: list[str] = []
    begun: str | None = None
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        match = _MARKER.fullmatch(line.strip())
        if match is None:
            if begun is None:
                lines.append(line)
            continue
        kind, name = match.groups()
        if kind == "begin":
            _check_begin(name, number, begun, seen, contents)
            begun = name
            seen.add(name)
            # Blank lines, because not every Markdown ends an HTML block or a table without one.
            lines.extend([line, "", contents[name](), ""])
        elif name != begun:
            raise RegionError(f"line {number}: end:{name} without its beginning")
        else:
            begun = None
            lines.append(line)
    if begun is not None:
        raise RegionError(f"begin:{begun} has no end")
    if not seen:
        raise RegionError(f"no region to fill; known are {', '.join(contents)}")
    return "\n".join(lines)


def _check_begin(
    name: str,
    number: int,
    begun: str | None,
    seen: set[str],
    contents: Mapping[str, Callable[[], str]],
) -> None:
    if begun is not None:
        raise RegionError(f"line {number}: begin:{name} inside of {begun}")
    if name in seen:
        raise RegionError(f"line {number}: begin:{name} for the second time")
    if name not in contents:
        raise RegionError(f"line {number}: no region {name!r}; known are {', '.join(contents)}")


@click.command(epilog="Example: python -m benchmarks.readme README.md --check")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a FILE would change.")
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=RESULTS,
    help="The folder of the results files.  [default: benchmarks/results]",
)
def readme(files: tuple[Path, ...], check: bool, results: Path) -> None:
    """Fill the marked regions of each FILE with tables; all are filled, or none.

    Exit codes: 0 ok, 1 a FILE differs (--check), 2 a region or a results file is wrong.
    """
    stale: dict[Path, str] = {}
    for file in files:
        text = file.read_text(encoding="utf-8")
        try:
            filled = fill(text, regions(results))
        except BenchmarkError as error:
            click.echo(f"error: {file}: {error}", err=True)
            sys.exit(2)
        if filled != text:
            stale[file] = filled
    for file, filled in stale.items():
        if check:
            click.echo(f"{file} differs from the results; run python -m benchmarks.readme {file}")
        else:
            file.write_text(filled, encoding="utf-8")
    if check and stale:
        sys.exit(1)


if __name__ == "__main__":
    readme()
