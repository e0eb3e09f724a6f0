"""`python -m benchmarks.readme`: fills the marked regions of pages from results files.

A region is everything between `<!-- begin:NAME -->` and `<!-- end:NAME -->`, each on a line of
its own. Its text is replaced; nothing else is touched.
"""

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from benchmarks.harness.command import refusals
from benchmarks.harness.errors import BenchmarkError, RegionError
from benchmarks.harness.regions import Regions
from benchmarks.harness.store import RESULTS

# The modules whose `REGIONS` are filled.
MODULES = (
    "benchmarks.speed.first_screen",
    "benchmarks.speed.tables",
    "benchmarks.speed.panel",
    "benchmarks.engines.report",
    "benchmarks.engines.long",
    "benchmarks.engines.operators",
    "benchmarks.engines.roofline.report",
    "benchmarks.engines.session_options",
    "benchmarks.memory.footprint",
    "benchmarks.load.report",
    "benchmarks.load.reading",
    "benchmarks.load.watching",
    "benchmarks.traffic.store",
    "benchmarks.load.soak",
    "benchmarks.attacks.results",
    "benchmarks.attacks.soak",
    "benchmarks.corpus.run",
    "benchmarks.plan.results",
    "benchmarks.plan.plots",
    "benchmarks.quality.agreement",
    "benchmarks.quality.dilution",
    "benchmarks.quality.early",
    "benchmarks.quality.thresholds",
    "benchmarks.quality.languages",
    "benchmarks.quality.gpu_report",
    "benchmarks.rehearse",
)

_MARKER = re.compile(r"<!-- (begin|end):([a-z0-9-]+) -->")


def regions(folder: Path) -> Mapping[str, Callable[[], str]]:
    """Return a function per region that makes its contents from the results in `folder`.

    Raises:
        RegionError: two modules fill the same region.
    """
    found: dict[str, Callable[[], str]] = {}
    for module in MODULES:
        own: Regions = importlib.import_module(module).REGIONS
        if twice := found.keys() & own.keys():
            raise RegionError(f"{module} fills {sorted(twice)}, which another module fills")
        found |= {name: partial(fill_region, folder) for name, fill_region in own.items()}
    return found


def fill(text: str, contents: Mapping[str, Callable[[], str]]) -> str:
    """Return `text` with each of its regions filled from `contents`.

    Raises:
        RegionError: there is no region, or one is unknown, nested, given twice, or only begun or
            only ended; the message names the line.
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
            # Not every Markdown ends an HTML block or a table without a blank line.
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
    help="Folder of the results files.  [default: benchmarks/results]",
)
@refusals(exit_code=2)
def readme(files: tuple[Path, ...], check: bool, results: Path) -> None:
    """Fill the marked regions of each FILE with tables; fill all files or none.

    Exit codes: 0 ok, 1 a FILE differs (--check), 2 a region or a results file is wrong.
    """
    stale: dict[Path, str] = {}
    for file in files:
        text = file.read_text(encoding="utf-8")
        try:
            filled = fill(text, regions(results))
        except BenchmarkError as error:
            raise BenchmarkError(f"{file}: {error}") from error
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
