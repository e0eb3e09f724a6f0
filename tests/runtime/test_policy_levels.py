"""A policy's rules for levels beside the cascade: read, merged, and refused by their place."""

import re
from dataclasses import replace

import pytest

from hazgate import Policy, PolicyError
from hazgate.judging.decision import LevelRule
from tests.support.panel_heads import PANEL
from tests.support.policies import POLICY

LEVELS = """
[levels.injection]
action = "block"
threshold = 0.8

[levels.pii]
action = "flag"
labels = ["email", "payment"]

[roles.tool.levels.injection]
threshold = 0.4

[roles.tool.levels.topic]
action = "flag"
labels = ["legal"]
threshold = 0.9

[tenants.acme.levels.injection]
action = "flag"

[tenants.acme.levels.pii]
labels = ["id_number"]

[tenants.acme.roles.tool.levels.injection]
threshold = 0.3

[tenants.beta.levels.topic]
action = "block"
labels = ["maths"]
threshold = 0.5
"""


def _parse(text: str) -> Policy:
    return Policy.parse(text.encode())


def _problems(error: PolicyError) -> list[str]:
    return re.findall(r"^  - (.*)$", str(error), flags=re.MULTILINE)


def test_a_rule_of_a_level_is_what_its_table_says() -> None:
    assert _parse(POLICY + LEVELS).rules().levels == {
        "injection": LevelRule(action="block", threshold=0.8),
        "pii": LevelRule(action="flag", labels=("email", "payment")),
    }


def test_a_policy_without_levels_needs_none() -> None:
    policy = _parse(POLICY)
    assert policy.rules().levels == {}
    assert policy.level_names == ()
    policy.check_levels({})
    policy.check_levels(PANEL)


def test_a_tenant_changes_only_the_fields_of_a_level_that_its_table_gives() -> None:
    assert _parse(POLICY + LEVELS).rules("acme").levels == {
        "injection": LevelRule(action="flag", threshold=0.8),
        "pii": LevelRule(action="flag", labels=("id_number",)),
    }


def test_a_role_overrides_the_policy_and_a_tenant_the_role_and_its_own_role_both() -> None:
    policy = _parse(POLICY + LEVELS)
    topic = LevelRule(action="flag", threshold=0.9, labels=("legal",))
    assert policy.rules(role="tool").levels == {
        "injection": LevelRule(action="block", threshold=0.4),
        "pii": LevelRule(action="flag", labels=("email", "payment")),
        "topic": topic,
    }
    assert policy.rules("acme", "tool").levels == {
        "injection": LevelRule(action="flag", threshold=0.3),
        "pii": LevelRule(action="flag", labels=("id_number",)),
        "topic": topic,
    }
    assert policy.rules("beta", "tool").levels["topic"] == LevelRule(
        action="block", threshold=0.5, labels=("maths",)
    )
    assert policy.rules("acme", "user").levels == policy.rules("acme").levels


def test_a_definition_keeps_the_thresholds_of_levels() -> None:
    policy = _parse(POLICY + LEVELS)
    assert policy.rules(role="definition").levels == policy.rules().levels


def test_the_levels_that_any_rule_needs_are_named_once() -> None:
    assert _parse(POLICY + LEVELS).level_names == ("injection", "pii", "topic")
    own = '[tenants.acme.roles.user.levels.late]\naction = "allow"\n'
    assert _parse(POLICY + own).level_names == ("late",)


WRONG: dict[str, tuple[str, str]] = {
    "no action": ("[levels.pii]\nthreshold = 0.5", "$.levels.pii.action: missing"),
    "no action in a role": (
        "[roles.tool.levels.pii]\nthreshold = 0.5",
        "$.roles.tool.levels.pii.action: missing",
    ),
    "no action in a tenant": ("[tenants.acme.levels.pii]", "$.tenants.acme.levels.pii.action: mis"),
    "no action in a tenant's role": (
        "[tenants.acme.roles.tool.levels.pii]\nthreshold = 0.5",
        "$.tenants.acme.roles.tool.levels.pii.action: missing",
    ),
    "action of another tenant": (
        "[tenants.a.levels.pii]\naction = 'flag'\n[tenants.b.levels.pii]\nthreshold = 0.5",
        "$.tenants.b.levels.pii.action: missing",
    ),
    "action of another role": (
        "[roles.user.levels.pii]\naction = 'flag'\n[roles.tool.levels.pii]\nthreshold = 0.5",
        "$.roles.tool.levels.pii.action: missing",
    ),
    "unknown action": (
        "[levels.pii]\naction = 'hide'",
        "$.levels.pii.action: expected one of ['allow', 'flag', 'mask', 'block'], got 'hide'",
    ),
    "unknown field": (
        "[levels.pii]\naction = 'flag'\nalways = 0.9",
        "$.levels.pii.always: unknown field",
    ),
    "unknown field in a tenant's role": (
        "[tenants.acme.roles.tool.levels.pii]\naction = 'flag'\ntreshold = 0.9",
        "$.tenants.acme.roles.tool.levels.pii.treshold: unknown field",
    ),
    "levels of another type": ("[[levels]]", "$.levels: expected a table"),
    "level of another type": ("[levels]\npii = 'flag'", "$.levels.pii: expected a table, got 'fla"),
    "threshold of zero": (
        "[levels.pii]\naction = 'flag'\nthreshold = 0",
        "$.levels.pii.threshold: expected a number above 0 and up to 1, got 0.0",
    ),
    "threshold above one": (
        "[roles.tool.levels.pii]\naction = 'flag'\nthreshold = 1.5",
        "$.roles.tool.levels.pii.threshold: expected a number above 0 and up to 1, got 1.5",
    ),
    "threshold that is not a number": (
        "[tenants.acme.levels.pii]\naction = 'flag'\nthreshold = nan",
        "$.tenants.acme.levels.pii.threshold: expected a number above 0 and up to 1, got nan",
    ),
    "true as a threshold": (
        "[levels.pii]\naction = 'flag'\nthreshold = true",
        "$.levels.pii.threshold: expected a number, got True",
    ),
    "a label's threshold of zero": (
        "[levels.pii]\naction = 'flag'\nthresholds = { name = 0 }",
        "$.levels.pii.thresholds.name: expected a number above 0 and up to 1, got 0.0",
    ),
    "a label's threshold that is no number": (
        "[tenants.acme.levels.pii]\naction = 'flag'\nthresholds = { name = 'high' }",
        "$.tenants.acme.levels.pii.thresholds.name: expected a number, got 'high'",
    ),
    "no label": (
        "[levels.pii]\naction = 'flag'\nlabels = []",
        "$.levels.pii.labels: must name a label; leave it out for the bundle's own",
    ),
    "a label twice": (
        "[levels.pii]\naction = 'flag'\nlabels = ['email', 'name', 'email']",
        "$.levels.pii.labels: names 'email' twice",
    ),
    "a label that is no name": (
        "[levels.pii]\naction = 'flag'\nlabels = ['email', 3]",
        "$.levels.pii.labels[1]: expected a string, got 3",
    ),
    "labels of another type": (
        "[levels.pii]\naction = 'flag'\nlabels = 'email'",
        "$.levels.pii.labels: expected an array, got 'email'",
    ),
}


@pytest.mark.parametrize(("added", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_rule_of_a_level_is_refused_by_its_path_and_alone(added: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        _parse(f"{POLICY}\n{added}\n")
    problems = _problems(caught.value)
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


def test_an_action_may_come_from_any_table_that_is_inherited() -> None:
    for source in (
        "[levels.pii]",
        "[roles.tool.levels.pii]",
        "[tenants.acme.levels.pii]",
        "[tenants.acme.roles.tool.levels.pii]",
    ):
        own = "[tenants.acme.roles.tool.levels.pii]\nthreshold = 0.2\n"
        text = f"{source}\naction = 'flag'\n"
        text += "threshold = 0.2\n" if source in own else own
        rules = _parse(POLICY + text).rules("acme", "tool")
        assert rules.levels == {"pii": LevelRule(action="flag", threshold=0.2)}, source


def test_every_problem_of_levels_is_reported_at_once() -> None:
    text = """
[levels.pii]
labels = []
threshold = 2
[tenants.acme.levels.topic]
speed = 1
[roles.tool.levels.injection]
action = "hide"
"""
    with pytest.raises(PolicyError) as caught:
        _parse(POLICY + text)
    assert sorted(problem.split(":")[0] for problem in _problems(caught.value)) == [
        "$.levels.pii.action",
        "$.levels.pii.labels",
        "$.levels.pii.threshold",
        "$.roles.tool.levels.injection.action",
        "$.tenants.acme.levels.topic.action",
        "$.tenants.acme.levels.topic.speed",
    ]


def test_a_policy_fits_a_bundle_that_has_its_levels_and_labels() -> None:
    _parse(POLICY + LEVELS).check_levels(PANEL)


def test_every_level_and_label_that_a_bundle_lacks_is_named_once_with_those_that_it_has() -> None:
    text = LEVELS.replace('labels = ["email", "payment"]', 'labels = ["emial", "payment", "fax"]')
    text = text.replace("levels.topic", "levels.subject").replace('"id_number"', '"id", "fax"')
    with pytest.raises(PolicyError) as caught:
        _parse(POLICY + text).check_levels(PANEL)
    assert _problems(caught.value) == [
        "$.levels.pii.labels: no such label 'emial'",
        "$.levels.pii.labels: no such label 'fax'",
        "$.tenants.acme.levels.pii.labels: no such label 'id'",
        "$.tenants.beta.levels.subject: no such level",
        "$.roles.tool.levels.subject: no such level",
    ]
    assert str(caught.value).endswith(
        "the bundle's levels beside the cascade are injection (none, injection), "
        "pii (email, phone, address, name, id_number, payment), topic (chat, legal, maths)"
    )


def test_a_bundle_without_levels_beside_its_cascade_says_so() -> None:
    with pytest.raises(PolicyError, match="levels beside the cascade are none") as caught:
        _parse(POLICY + "[levels.level1]\naction = 'flag'\n").check_levels({})
    assert _problems(caught.value) == ["$.levels.level1: no such level"]


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        ("", ["$.levels.topic.labels: missing: the bundle does not say which of them flag a text"]),
        (
            "threshold = 0.5",
            ["$.levels.topic.labels: missing: the bundle does not say which of them flag a text"],
        ),
        (
            "labels = ['legal']",
            ["$.levels.topic.threshold: missing: the bundle flags no text by 'legal'"],
        ),
        (
            "labels = ['legal', 'law']",
            [
                "$.levels.topic.threshold: missing: the bundle flags no text by 'legal'",
                "$.levels.topic.labels: no such label 'law'",
            ],
        ),
    ],
)
def test_a_rule_that_could_never_apply_is_refused_when_it_meets_the_bundle(
    rule: str, problems: list[str]
) -> None:
    policy = _parse(f"{POLICY}\n[levels.topic]\naction = 'block'\n{rule}\n")
    with pytest.raises(PolicyError) as caught:
        policy.check_levels(PANEL)
    assert _problems(caught.value) == problems


def test_a_label_that_does_not_flag_by_itself_counts_with_a_threshold() -> None:
    rule = "[levels.injection]\naction = 'flag'\nlabels = ['none']\n"
    with pytest.raises(PolicyError, match="the bundle flags no text by 'none'"):
        _parse(POLICY + rule).check_levels(PANEL)
    _parse(POLICY + rule + "threshold = 0.9\n").check_levels(PANEL)


def test_only_a_level_that_finds_spans_can_mask() -> None:
    finding = {**PANEL, "pii": replace(PANEL["pii"], finds_spans=True)}
    for place in ("", "roles.tool.", "tenants.acme.", "tenants.acme.roles.tool."):
        policy = _parse(f"{POLICY}\n[{place}levels.pii]\naction = 'mask'\n")
        policy.check_levels(finding)
        with pytest.raises(PolicyError) as caught:
            policy.check_levels(PANEL)
        assert _problems(caught.value) == [
            f"$.{place}levels.pii.action: only a token level says what to mask: use block"
        ]


THRESHOLDS = """
[levels.pii]
action = "flag"
threshold = 0.9
thresholds = { email = 0.3, name = 0.4 }
[roles.tool.levels.pii]
threshold = 0.6
[tenants.acme.levels.pii]
thresholds = { email = 0.2 }
[tenants.beta.levels.pii]
threshold = 0.7
thresholds = { name = 0.1 }
"""


def test_a_label_can_have_a_threshold_of_its_own() -> None:
    policy = _parse(POLICY + THRESHOLDS)
    policy.check_levels(PANEL)
    scopes = (policy.rules(), policy.rules(role="tool"), policy.rules("acme"), policy.rules("beta"))
    found = [rules.levels["pii"] for rules in scopes]
    assert [(rule.threshold, rule.thresholds) for rule in found] == [
        (0.9, {"email": 0.3, "name": 0.4}),
        # One threshold for all takes the place of those by label that are inherited.
        (0.6, {}),
        (0.9, {"email": 0.2}),
        (0.7, {"name": 0.1}),
    ]


def test_a_threshold_of_a_label_that_the_bundle_lacks_is_named() -> None:
    rule = "[levels.topic]\naction = 'flag'\nlabels = ['legal']\n"
    _parse(f"{POLICY}{rule}thresholds = {{ legal = 0.4 }}\n").check_levels(PANEL)
    policy = _parse(f"{POLICY}{rule}thresholds = {{ legal = 0.4, law = 0.3 }}\n")
    with pytest.raises(PolicyError) as caught:
        policy.check_levels(PANEL)
    assert _problems(caught.value) == ["$.levels.topic.thresholds: no such label 'law'"]
