"""Tables in Markdown."""

from collections.abc import Sequence

from benchmarks.harness.statistics import Spread


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Rows of cells under their titles."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spread_text(value: Spread, unit: float, digits: int) -> str:
    """Median [least–greatest] in so many of `unit`."""
    low, middle, high = (
        f"{n / unit:.{digits}f}" for n in (value.least, value.median, value.greatest)
    )
    return f"{middle} [{low}–{high}]"
