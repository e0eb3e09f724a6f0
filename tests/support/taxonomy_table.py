"""The table of taxonomies in runtime/POLICIES.md, made from the data files.

`python -m tests.support.taxonomy_table` writes it into the page.
"""

from pathlib import Path

from hazgate.judging.taxonomy import Taxonomy, load_taxonomy, taxonomy_names
from tests.support.tiny import HAZARDS

PAGE = Path(__file__).parents[2] / "runtime" / "POLICIES.md"
START, END = "<!-- taxonomies -->\n", "<!-- /taxonomies -->\n"


def taxonomy_table() -> str:
    """Return each hazard's categories in each taxonomy, `≈` before the lossy ones."""
    taxonomies = [load_taxonomy(name) for name in taxonomy_names()]
    rows = [
        ["hazard", *(f"`{taxonomy.id}`" for taxonomy in taxonomies)],
        ["---"] * (len(taxonomies) + 1),
        *([f"`{name}`", *(_cell(taxonomy, name) for taxonomy in taxonomies)] for name in HAZARDS),
        ["*no hazard*", *(_unmapped(taxonomy) for taxonomy in taxonomies)],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(page: str) -> str:
    """Return the page with a newly made table."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return before + START + taxonomy_table() + END + after


def _cell(taxonomy: Taxonomy, hazard: str) -> str:
    matches = taxonomy.hazards[hazard].matches
    shown = [f"{'' if m.relation == 'exact' else '≈ '}`{m.category}`" for m in matches]
    return "<br>".join(shown) or "—"


def _unmapped(taxonomy: Taxonomy) -> str:
    matched = {m.category for entry in taxonomy.hazards.values() for m in entry.matches}
    return "<br>".join(f"`{c.id}`" for c in taxonomy.categories if c.id not in matched) or "—"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
