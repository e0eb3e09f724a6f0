"""The report as one self-contained HTML page."""

import base64

import jinja2
from markupsafe import Markup

from hazgate_evaluation import plots
from hazgate_evaluation.estimates import CONFIDENCE, N_RESAMPLES, Estimate
from hazgate_evaluation.report import Report
from hazgate_evaluation.slices import MIN_ROWS
from hazgate_evaluation.streams import MIN_TOKENS

# The page is for reading; report.json lists all of them.
MAX_LISTED = 100


def render(report: Report) -> bytes:
    """Render the page as UTF-8; the same report gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hazgate_evaluation", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["estimate"] = format_estimate
    environment.filters["p_value"] = lambda p: "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
    page = environment.get_template("report.html.j2").render(
        report=report,
        first=report.systems[0],
        reliability=_image(plots.reliability_figure(report.systems)),
        precision_recall=_image(plots.precision_recall_figure(report.systems)),
        confusions=[
            (system, _image(plots.confusion_figure(system.level2)))
            for system in report.systems
            if system.level2
        ],
        slices=_slices_image(report),
        regret=_image(plots.regret_figure(report.experts, [s.title for s in report.systems]))
        if report.experts
        else "",
        streams=_image(plots.streams_figure(report.streams)) if report.streams else "",
        min_stream_tokens=MIN_TOKENS,
        robustness=_image(plots.robustness_figure(report.robustness)) if report.robustness else "",
        dilution=_image(plots.dilution_figure(report.dilution)) if report.dilution else "",
        max_listed=MAX_LISTED,
        min_rows=MIN_ROWS,
        n_resamples=N_RESAMPLES,
        confidence=round(100 * CONFIDENCE),
    )
    return page.encode()


def format_estimate(figure: Estimate | None) -> str:
    """Format a figure with its interval for tables."""
    if figure is None:
        return "–"
    return f"{figure.value:.3f} [{figure.low:.3f}–{figure.high:.3f}]"


def _slices_image(report: Report) -> Markup | str:
    slices = report.systems[0].slices
    if not any(part.recall or part.false_positive_rate for part in slices):
        return ""
    return _image(plots.slices_figure(slices))


def _image(svg: bytes) -> Markup:
    """Make a data URL of an SVG document, so that its ids cannot clash with another's."""
    encoded = base64.b64encode(svg).decode("ascii")
    return Markup("data:image/svg+xml;base64,{}").format(encoded)
