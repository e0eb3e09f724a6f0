"""A policy's rules by role, and its action on what nobody could read."""

import pytest

from hazgate import InputError, Policy, PolicyError
from hazgate.judging.judgement import terms_of
from hazgate.judging.speech import DEFINITION_THRESHOLD
from tests.support.policies import POLICY
from tests.support.tiny import LEVELS

ROLES = """
[unread]
image = "flag"
file = "allow"

[roles.tool]
mode = "strict"
[roles.tool.gate]
unsafe = 0.8

[tenants.acme.roles.tool.gate]
controversial = 0.2

[tenants.open]
unread = "allow"
"""


def _parse(text: str) -> Policy:
    return Policy.parse(text.encode())


def test_a_role_changes_only_what_its_table_gives_and_a_tenant_overrides_it() -> None:
    policy = _parse(POLICY + ROLES)
    base, tool = policy.rules(), policy.rules(role="tool")
    assert policy.rules(role="user") == base
    assert (tool.mode, tool.level1.controversial, tool.level1.unsafe) == ("strict", 0.35, 0.8)
    assert tool.hazards == base.hazards
    acme = policy.rules("acme", "tool").level1
    assert (acme.controversial, acme.unsafe) == (0.2, 0.4)
    assert policy.rules("acme", "user") == policy.rules("acme")


def test_definitions_have_a_higher_threshold_unless_the_file_says_another() -> None:
    policy = _parse(POLICY)
    for tenant in (None, "acme"):
        gate = policy.rules(tenant, "definition").level1
        assert (gate.controversial, gate.unsafe) == (DEFINITION_THRESHOLD, DEFINITION_THRESHOLD)
    own = _parse(POLICY + '[roles.definition]\nmode = "strict"\n').rules(role="definition")
    assert (own.mode, own.level1.unsafe) == ("strict", DEFINITION_THRESHOLD)
    low = _parse(POLICY + "[roles.definition.gate]\nunsafe = 0.5\n").rules(role="definition")
    assert (low.level1.controversial, low.level1.unsafe) == (0.35, 0.5)


def test_without_a_policy_definitions_have_a_higher_threshold_too() -> None:
    for role, threshold in (("definition", DEFINITION_THRESHOLD), ("user", 0.5), (None, 0.5)):
        (terms,) = terms_of(0.5, None, None, None, role)  # type: ignore[arg-type] # plain strings
        assert terms.opens_at == threshold
    assert terms_of(0.95, None, None, None, "definition")[0].opens_at == 0.95


def test_unread_parts_block_unless_the_file_says_otherwise() -> None:
    policy = _parse(POLICY + ROLES)
    assert _parse(POLICY).unread_action(["image"]) == "block"
    assert policy.unread_action([]) == "allow"
    assert policy.unread_action(["file"]) == "allow"
    assert policy.unread_action(["file", "image"]) == "flag"
    assert policy.unread_action(["file", "audio"]) == "block"
    assert policy.unread_action(["audio", "image"], "open") == "allow"
    assert policy.unread_action(["file"], "acme") == "allow"
    # At the top of a file, before its tables.
    flags = _parse(POLICY.replace("[temperature]", 'unread = "flag"\n[temperature]', 1))
    assert flags.unread_action(["audio"]) == "flag"
    with pytest.raises(InputError, match="no such tenant"):
        policy.unread_action(["image"], "nobody")


@pytest.mark.parametrize(
    ("added", "problem"),
    [
        ("[roles.critic]\nmode = 'loose'", r"\$\.roles\.critic: no such role; the roles are"),
        ("[roles.tool.gate]\nunsafe = 2", r"\$\.roles\.tool\.gate\.unsafe: expected a number"),
        ("[roles.tool.gate]\nunsafe = 0.1", r"\$\.roles\.tool\.gate: controversial 0\.35"),
        ("[roles.tool]\nspeed = 1", r"\$\.roles\.tool\.speed: unknown field"),
        ("[roles.tool.gate]\ncontroversial = 0.5", r"\$\.tenants\.acme\.roles\.tool\.gate"),
        ("[tenants.acme.roles.x]", r"\$\.tenants\.acme\.roles\.x: no such role"),
        ("[unread]\nsmell = 'flag'", r"\$\.unread\.smell: no such kind; the kinds are default"),
        ("[unread]\nimage = 'pass'", r"\$\.unread\.image: expected one of"),
        ("[tenants.acme.unread]\nx = 'flag'", r"\$\.tenants\.acme\.unread\.x: no such kind"),
        ("[tenants.b]\nunread = 'no'", r"\$\.tenants\.b\.unread\.default: expected one of"),
    ],
)
def test_a_wrong_role_or_kind_is_named_with_its_place(added: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        _parse(f"{POLICY}\n{added}\n")


def test_a_hazard_that_only_a_role_names_is_looked_for_in_the_bundle() -> None:
    named = "[roles.tool.hazards]\nS99_none = { action = 'flag' }\n"
    with pytest.raises(PolicyError, match=r"\$\.roles\.tool\.hazards\.S99_none: no such hazard"):
        _parse(POLICY + named).check_labels(LEVELS["level2"])
