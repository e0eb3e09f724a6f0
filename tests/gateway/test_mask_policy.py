"""The example of a policy that masks names a level of panel and types that it finds."""

from pathlib import Path

from hazgate.documents.toml import parse_toml
from hazgate.judging.classification import LabelHead
from hazgate.judging.policy import Policy
from hazgate.judging.spans import FOUND
from hazgate.judging.tags import Tags

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "runtime" / "deploy" / "mask-personal-data.toml"
RECIPE = ROOT / "export" / "recipes" / "panel.toml"


def test_the_policy_that_masks_fits_the_levels_of_panels_recipe() -> None:
    levels = parse_toml(RECIPE.read_bytes(), source="panel", error=ValueError)["levels"]
    types = Tags.of(levels["pii_spans"]["labels"], None).types
    head = LabelHead(
        labels=types,
        activation="sigmoid",
        positive=None,
        thresholds=(FOUND,) * len(types),
        finds_spans=True,
    )
    policy = Policy.load(POLICY)
    policy.check_labels(tuple(levels["level2"]["labels"]))
    policy.check_levels({"pii_spans": head})
    rule = policy.rules(None, "user").levels["pii_spans"]
    assert rule.action == "mask"
    assert rule.labels is not None
    # An address of a network stays: most are of machines.
    assert set(types) - set(rule.labels) == {"ip_address"}
