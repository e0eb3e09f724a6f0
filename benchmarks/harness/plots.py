"""Parts of figures that several benchmarks draw."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

_TICKS_MS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(1000, 2000, 5000, 10_000, 20_000, 50_000),
)


@contextmanager
def plain_style(*, font_size: int) -> Iterator[None]:
    """Draw axes without a frame while the block runs."""
    with mpl.rc_context(
        {"font.size": font_size, "axes.spines.top": False, "axes.spines.right": False}
    ):
        yield


def length_axis(axes: Axes, lengths: Sequence[int]) -> None:
    """Make the x axis one of token counts: logarithmic, a tick at each of `lengths`."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.xaxis.set_minor_locator(NullLocator())


def millisecond_axis(axes: Axes) -> None:
    """Make the y axis one of milliseconds: logarithmic, round ticks, plain numbers."""
    axes.set_yscale("log")
    lowest, highest = axes.get_ylim()
    axes.set_yticks([tick for tick in _TICKS_MS if lowest <= tick <= highest])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def save_figure(figure: Figure, file: Path) -> None:
    """Write a figure; the same results give the same bytes, without date or version."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Software": None})
