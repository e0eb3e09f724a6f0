"""The benchmark of texts among harmless ones: the tables that it makes."""

from benchmarks.quality.company import CompanyResults, SafeTexts, WayOfReading, company_table
from hazgate_evaluation.company import COMPANY_TOKENS, PLACES, Company, CompanyFigures
from hazgate_evaluation.estimates import Estimate
from tests.support.results import toy_header


def _share(value: float) -> Estimate:
    return Estimate(value=value, low=0.0, high=1.0)


def _way(found: dict[str, float], flagged: dict[str, float], reads: float) -> WayOfReading:
    return WayOfReading(
        company=Company(
            n_unsafe=7,
            n_safe=8,
            figures=tuple(
                CompanyFigures(
                    n_tokens=n_tokens,
                    place=place,
                    still_flagged=_share(found[place]),
                    newly_flagged=_share(flagged[place]),
                )
                for n_tokens in COMPANY_TOKENS
                for place in PLACES
            ),
        ),
        safe=(
            SafeTexts(
                shortest_tokens=27,
                longest_tokens=40,
                n_texts=5,
                flagged=_share(0.2),
                read_per_token=reads,
            ),
        ),
    )


def test_the_worst_place_counts_and_both_ways_stand_side_by_side() -> None:
    once = _way(
        dict(zip(PLACES, (0.5, 0.1, 0.3), strict=True)),
        dict(zip(PLACES, (0.01, 0.04, 0.02), strict=True)),
        1.0,
    )
    close = _way(
        dict(zip(PLACES, (0.9, 0.95, 0.8), strict=True)),
        dict(zip(PLACES, (0.06, 0.05, 0.03), strict=True)),
        2.1,
    )
    text = company_table(
        CompanyResults(
            header=toy_header(), variant="int8-fused", n_rows=100, once=once, close=close
        )
    )
    cells = [f"{value} (0.0% to 100.0%)" for value in ("10.0%", "80.0%", "4.0%", "6.0%")]
    assert f"| 400 | {' | '.join(cells)} |" in text
    assert "| 27 to 40 | 5 |" in text
    assert "| 1.00 | 2.10 |" in text
