"""Check that a bundle's levels can follow a policy's rules for them. Pure."""

from collections.abc import Iterator, Mapping

from hazgate.judging.classification import LabelHead
from hazgate.judging.decision import Rules


def misfits(rules: Rules, levels: Mapping[str, LabelHead]) -> Iterator[str]:
    """Yield what a bundle lacks for rules to apply to its levels, each after the level's name."""
    for name, rule in rules.levels.items():
        if name not in levels:
            yield f"{name}: no such level"
            continue
        head = levels[name]
        if rule.action == "mask" and not head.finds_spans:
            yield f"{name}.action: only a token level says what to mask: use block"
        labels = rule.labels or head.looked_for
        if not labels:
            yield f"{name}.labels: missing: the bundle does not say which of them flag a text"
        for label in labels:
            if label not in head.labels:
                yield f"{name}.labels: no such label {label!r}"
            elif rule.threshold is None and label not in (*rule.thresholds, *head.looked_for):
                yield f"{name}.threshold: missing: the bundle flags no text by {label!r}"
        for label in rule.thresholds:
            if label not in head.labels:
                yield f"{name}.thresholds: no such label {label!r}"
