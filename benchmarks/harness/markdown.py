"""Tables in Markdown."""

from collections.abc import Sequence

from benchmarks.harness.statistics import RoundSpread


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return rows of cells below their titles."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spread_text(value: RoundSpread, unit: float, digits: int) -> str:
    """Return median [least–greatest], divided by `unit` and rounded to `digits` decimals."""
    low, middle, high = (
        f"{n / unit:.{digits}f}" for n in (value.least, value.median, value.greatest)
    )
    return f"{middle} [{low}–{high}]"
