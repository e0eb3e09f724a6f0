"""What the README says of decisions on labelled texts is what was measured, and within the bar."""

from benchmarks.harness.store import RESULTS, load
from benchmarks.quality.agreement import AgreementResults, agreement_text

# Of the fused variant: a decision in three hundred.
_MOST_CHANGED = 0.003


def test_the_fused_variant_changes_few_decisions_of_many_texts() -> None:
    results = load(AgreementResults, RESULTS / "agreement-mini.json")
    fused = [one for one in results.agreements if one.variant == "int8-fused"]
    assert {one.level for one in fused} == {"level1", "level2"}
    for one in fused:
        assert one.n_texts > 3000
        assert one.decisions_changed <= _MOST_CHANGED * one.n_texts
        assert f"{one.decisions_changed} of {one.n_texts}" in agreement_text(results)
