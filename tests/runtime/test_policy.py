"""A policy file says exactly what it says, or every reason why it cannot is named."""

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import BundleError, InputError, PolicyError
from hazgate.judging.decision import HazardRule, Level1Thresholds, Rules, Temperature
from hazgate.judging.policy import Policy
from tests.support.policies import POLICY
from tests.support.tiny import LEVELS

LABELS = LEVELS["level2"]
MINIMAL = """\
schema_version = 1
name = "small"
mode = "strict"
gate = { controversial = 0.5, unsafe = 0.5 }
hazards.default = { action = "block", threshold = 0 }
"""


def _parse(text: str) -> Policy:
    return Policy.parse(text.encode())


def _problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        _parse(text)
    return re.findall(r"^  - (.*)$", str(caught.value), flags=re.MULTILINE)


def test_a_policy_is_what_its_file_says() -> None:
    policy = _parse(POLICY)
    assert policy.name == "example"
    assert policy.digest == hashlib.sha256(POLICY.encode()).hexdigest()
    assert policy.rules() == Rules(
        mode="loose",
        temperature=Temperature(level1=1.4, level2=1.1),
        level1=Level1Thresholds(controversial=0.35, unsafe=0.6),
        default=HazardRule(action="block", threshold=0.4),
        hazards={
            "S8_specialized_advice": HazardRule(action="flag", threshold=0.3),
            "S6_self_harm": HazardRule(action="block", threshold=0.5, always=0.9),
        },
    )


def test_a_tenant_changes_only_what_its_tables_give() -> None:
    policy = _parse(POLICY)
    base, acme = policy.rules(), policy.rules("acme")
    assert acme == Rules(
        mode="strict",
        temperature=base.temperature,
        level1=Level1Thresholds(controversial=0.35, unsafe=0.4),
        default=base.default,
        hazards={
            "S8_specialized_advice": HazardRule(action="allow", threshold=0.3),
            "S6_self_harm": base.hazards["S6_self_harm"],
        },
    )


def test_a_tenant_may_have_a_temperature_of_its_own_and_keeps_the_other() -> None:
    rules = _parse(POLICY + "[tenants.acme.temperature]\nhazards = 2\n").rules("acme")
    assert rules.temperature == Temperature(level1=1.4, level2=2.0)


def test_what_is_optional_has_the_value_that_the_format_states() -> None:
    policy = _parse(MINIMAL)
    assert policy.rules().temperature == Temperature(level1=1.0, level2=1.0)
    assert policy.rules().hazards == {}
    assert policy.tenants == {}


def test_an_empty_tenant_has_the_policys_own_rules() -> None:
    policy = _parse(POLICY + "[tenants.plain]\n")
    assert policy.rules("plain") == policy.rules()


def test_what_a_named_hazard_leaves_out_is_the_defaults() -> None:
    text = MINIMAL + "hazards.S7_hate = { action = 'flag' }\nhazards.S9_privacy = {threshold = 1}\n"
    rules = _parse(text).rules()
    assert rules.hazards["S7_hate"] == HazardRule(action="flag", threshold=0.0)
    assert rules.hazards["S9_privacy"] == HazardRule(action="block", threshold=1.0)


def test_a_tenants_default_also_reaches_what_the_policys_own_hazards_left_out() -> None:
    text = MINIMAL + (
        "hazards.S7_hate = { action = 'flag' }\n"
        "tenants.acme.hazards.default = { threshold = 0.8 }\n"
        "tenants.acme.hazards.S9_privacy = { always = 1 }\n"
    )
    rules = _parse(text).rules("acme")
    assert rules.default == HazardRule(action="block", threshold=0.8)
    assert rules.hazards["S7_hate"] == HazardRule(action="flag", threshold=0.8)
    assert rules.hazards["S9_privacy"] == HazardRule(action="block", threshold=0.8, always=1.0)


def test_only_always_needs_the_hazards_of_every_text() -> None:
    policy = _parse(MINIMAL + "tenants.acme.hazards.S6_self_harm = { always = 0.9 }\n")
    assert not policy.rules().needs_all_hazards
    assert policy.rules("acme").needs_all_hazards


def test_any_changed_byte_is_another_version() -> None:
    assert _parse(POLICY).digest != _parse(POLICY + "\n").digest


def test_a_policy_is_loaded_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(POLICY.encode())
    assert Policy.load(file) == Policy.load(str(file)) == _parse(POLICY)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.toml cannot be read: No such file"):
        Policy.load(tmp_path / "absent.toml")
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        Policy.load(tmp_path)


def test_a_wrong_file_is_named_in_its_error(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(POLICY.replace("loose", "lax"))
    with pytest.raises(PolicyError, match=r"wrong\.toml is not a valid policy:\n  - \$\.mode"):
        Policy.load(file)


def _swap(old: str, new: str) -> str:
    assert POLICY.count(old) == 1
    return POLICY.replace(old, new)


WRONG: dict[str, tuple[str, str]] = {
    "zero schema": (
        _swap("schema_version = 1", "schema_version = 0"),
        "$.schema_version: expected 1, got 0",
    ),
    "true as schema": (
        _swap("schema_version = 1", "schema_version = true"),
        "$.schema_version: expected an integer, got True",
    ),
    "false as schema": (
        _swap("schema_version = 1", "schema_version = false"),
        "$.schema_version: expected an integer, got False",
    ),
    "missing schema": (_swap("schema_version = 1", ""), "$.schema_version: missing"),
    "missing name": (_swap('name = "example"', ""), "$.name: missing"),
    "empty name": (
        _swap('"example"', '""'),
        "$.name: must not be empty: verdicts name their policy by it",
    ),
    "missing mode": (_swap('mode = "loose"', ""), "$.mode: missing"),
    "unknown mode": (
        _swap('"loose"', '"lenient"'),
        "$.mode: expected one of ['strict', 'loose'], got 'lenient'",
    ),
    "unknown field": (
        _swap('mode = "loose"', 'mode = "loose"\ncolour = 1'),
        "$.colour: unknown field",
    ),
    "misspelt threshold": (
        _swap("threshold = 0.3", "treshold = 0.3"),
        "$.hazards.S8_specialized_advice.treshold: unknown field",
    ),
    "unknown action": (
        _swap('"flag"', '"warn"'),
        "$.hazards.S8_specialized_advice.action: expected one of "
        "['allow', 'flag', 'mask', 'block'], got 'warn'",
    ),
    "missing gate threshold": (_swap("unsafe = 0.6", ""), "$.gate.unsafe: missing"),
    "gate of another type": (_swap("[gate]", "[[gate]]"), "$.gate: expected a table"),
    "hazard of another type": (
        _swap('{ action = "flag", threshold = 0.3 }', '"flag"'),
        "$.hazards.S8_specialized_advice: expected a table, got 'flag'",
    ),
    "missing default": (_swap("default =", "S7_hate ="), "$.hazards.default: missing"),
    "default without an action": (
        _swap('action = "block", threshold = 0.4', "threshold = 0.4"),
        "$.hazards.default.action: missing",
    ),
    "default without a threshold": (
        _swap(", threshold = 0.4", ""),
        "$.hazards.default.threshold: missing",
    ),
    "always in the default": (
        _swap("threshold = 0.4", "threshold = 0.4, always = 0.9"),
        "$.hazards.default.always: is for named hazards; give it to each that blocks by itself",
    ),
    "always in a tenant's default": (
        POLICY + "default = { always = 0.9 }\n",
        "$.tenants.acme.hazards.default.always: is for named hazards; give it to each that "
        "blocks by itself",
    ),
    "number as text": (
        _swap("unsafe = 0.6", 'unsafe = "0.6"'),
        "$.gate.unsafe: expected a number, got '0.6'",
    ),
    "true as a number": (
        _swap("unsafe = 0.6", "unsafe = true"),
        "$.gate.unsafe: expected a number, got True",
    ),
    "true as a threshold": (
        _swap("threshold = 0.3", "threshold = true"),
        "$.hazards.S8_specialized_advice.threshold: expected a number, got True",
    ),
    "threshold above one": (
        _swap("threshold = 0.3", "threshold = 1.01"),
        "$.hazards.S8_specialized_advice.threshold: expected a number between 0 and 1, got 1.01",
    ),
    "threshold below zero": (
        _swap("threshold = 0.4", "threshold = -0.01"),
        "$.hazards.default.threshold: expected a number between 0 and 1, got -0.01",
    ),
    "threshold that is not a number": (
        _swap("threshold = 0.3", "threshold = nan"),
        "$.hazards.S8_specialized_advice.threshold: expected a number between 0 and 1, got nan",
    ),
    "threshold that no float holds": (
        _swap("threshold = 0.3", f"threshold = {10**400}"),
        "$.hazards.S8_specialized_advice.threshold: expected a number that a float can hold",
    ),
    "always that is not a number": (
        _swap("always = 0.9", "always = nan"),
        "$.hazards.S6_self_harm.always: expected a number above 0 and up to 1, got nan",
    ),
    "always for every text": (
        _swap("always = 0.9", "always = 0"),
        "$.hazards.S6_self_harm.always: expected a number above 0 and up to 1, got 0.0",
    ),
    "always above one": (
        _swap("always = 0.9", "always = 1.5"),
        "$.hazards.S6_self_harm.always: expected a number above 0 and up to 1, got 1.5",
    ),
    "gate at zero": (
        _swap("controversial = 0.35", "controversial = 0"),
        "$.gate.controversial: expected a number above 0 and below 1, got 0.0",
    ),
    "gate that is not a number": (
        _swap("unsafe = 0.6", "unsafe = nan"),
        "$.gate.unsafe: expected a number above 0 and below 1, got nan",
    ),
    "gate at one": (
        _swap("unsafe = 0.6", "unsafe = 1"),
        "$.gate.unsafe: expected a number above 0 and below 1, got 1.0",
    ),
    "thresholds in the wrong order": (
        MINIMAL.replace("controversial = 0.5", "controversial = 0.61"),
        "$.gate: controversial 0.61 must not exceed unsafe 0.5",
    ),
    "temperature of zero": (
        _swap("gate = 1.4", "gate = 0"),
        "$.temperature.gate: expected a number between 0.01 and 100, got 0.0",
    ),
    "temperature that is not a number": (
        _swap("hazards = 1.1", "hazards = nan"),
        "$.temperature.hazards: expected a number between 0.01 and 100, got nan",
    ),
    "infinite temperature": (
        _swap("hazards = 1.1", "hazards = inf"),
        "$.temperature.hazards: expected a number between 0.01 and 100, got inf",
    ),
    "unknown temperature": (
        _swap("hazards = 1.1", "level2 = 1.1"),
        "$.temperature.level2: unknown field",
    ),
    "tenant of another type": (
        _swap("[tenants.acme]", "[tenants]\nother = 1\n[tenants.acme]"),
        "$.tenants.other: expected a table, got 1",
    ),
    "tenant inside a tenant": (
        POLICY + "[tenants.acme.tenants.sub]\n",
        "$.tenants.acme.tenants: unknown field",
    ),
    "tenant with a name": (_swap('mode = "strict"', 'name = "x"'), "$.tenants.acme.name: unknown"),
    "tenant's threshold out of range": (
        _swap('{ action = "allow" }', "{ threshold = 2 }"),
        "$.tenants.acme.hazards.S8_specialized_advice.threshold: expected a number between 0 and "
        "1, got 2.0",
    ),
    "tenant's temperature out of range": (
        POLICY + "[tenants.acme.temperature]\ngate = -1\n",
        "$.tenants.acme.temperature.gate: expected a number between 0.01 and 100, got -1.0",
    ),
    "tenant's true as a number": (
        _swap("unsafe = 0.4", "unsafe = false"),
        "$.tenants.acme.gate.unsafe: expected a number, got False",
    ),
    "order wrong only after the tenant's unsafe": (
        _swap("unsafe = 0.4", "unsafe = 0.34"),
        "$.tenants.acme.gate: controversial 0.35 must not exceed unsafe 0.34 "
        "(controversial is $.gate.controversial)",
    ),
    "order wrong only after the tenant's controversial": (
        _swap("unsafe = 0.4", "controversial = 0.7"),
        "$.tenants.acme.gate: controversial 0.7 must not exceed unsafe 0.6 "
        "(unsafe is $.gate.unsafe)",
    ),
    "order wrong inside a tenant": (
        _swap("unsafe = 0.4", "controversial = 0.7\nunsafe = 0.65"),
        "$.tenants.acme.gate: controversial 0.7 must not exceed unsafe 0.65",
    ),
}


@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_field_is_refused_by_its_path_and_alone(text: str, problem: str) -> None:
    problems = _problems(text)
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


def test_every_problem_is_reported_at_once_of_types_values_and_tenants_alike() -> None:
    text = """
name = 7
mode = "strict"
[gate]
controversial = "low"
unsafe = 2.0
[hazards]
S7_hate = { action = "warn", threshold = -1 }
[tenants.a.gate]
unsafe = nan
[tenants.b]
colour = "red"
"""
    assert sorted(problem.split(":")[0] for problem in _problems(text)) == [
        "$.gate.controversial",
        "$.gate.unsafe",
        "$.hazards.S7_hate.action",
        "$.hazards.S7_hate.threshold",
        "$.hazards.default",
        "$.name",
        "$.schema_version",
        "$.tenants.a.gate.unsafe",
        "$.tenants.b.colour",
    ]


def test_equal_thresholds_leave_no_controversial_text_and_are_allowed() -> None:
    rules = _parse(MINIMAL).rules()
    assert rules.severity(0.5) == "unsafe"
    assert rules.severity(0.49) == "safe"


def test_a_newer_schema_asks_for_a_newer_hazgate() -> None:
    with pytest.raises(PolicyError, match=r"schema version 2; this hazgate reads up to 1\. Upgr"):
        _parse("schema_version = 2\nsomething_new = true\n")


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"name = ",
        b"a = 1\na = 2\n",
        b"\xff\xfe",
        'name = "\u00e9"'.encode("latin-1"),
        b"x = " + b"9" * 5000,
        b"x = " + b"[" * 100_000,
    ],
    ids=["JSON", "half a line", "key twice", "UTF-16 mark", "Latin-1", "5000 digits", "deep"],
)
def test_what_is_not_toml_in_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(PolicyError, match="the policy is not a TOML document in UTF-8"):
        Policy.parse(text)


def test_an_empty_file_lacks_every_required_field() -> None:
    assert [problem.split(":")[0] for problem in _problems("")] == [
        f"$.{name}" for name in ("schema_version", "name", "mode", "gate", "hazards")
    ]


def test_an_unknown_tenant_is_an_input_error_that_names_no_tenant() -> None:
    policy = _parse(POLICY + "[tenants.beta]\n")
    with pytest.raises(InputError, match="'example' has no such tenant") as raised:
        policy.rules("gamma")
    assert not any(name in str(raised.value) for name in ("acme", "beta", "gamma"))


def test_an_empty_tenant_name_is_a_name_and_not_the_absence_of_one() -> None:
    with pytest.raises(InputError):
        _parse(POLICY).rules("")


def test_an_error_does_not_repeat_a_tenant_name_of_any_length() -> None:
    with pytest.raises(InputError) as caught:
        _parse(POLICY).rules("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_a_policy_fits_a_bundle_that_has_its_hazards() -> None:
    _parse(POLICY).check_labels(LABELS)
    _parse(MINIMAL).check_labels([])


def test_every_hazard_that_a_bundle_lacks_is_named_with_those_that_it_has() -> None:
    text = POLICY + "S14_novelty = { always = 0.9 }\n[tenants.beta.hazards]\nS7_hatred = {}\n"
    policy = _parse(text.replace("S6_self_harm", "S6_selfharm"))
    with pytest.raises(PolicyError) as caught:
        policy.check_labels(iter(LABELS))
    message = str(caught.value)
    assert re.findall(r"^  - (.*): no such hazard$", message, flags=re.MULTILINE) == [
        "$.hazards.S6_selfharm",
        "$.tenants.acme.hazards.S14_novelty",
        "$.tenants.beta.hazards.S7_hatred",
    ]
    assert message.endswith(f"the bundle's hazards are {', '.join(LABELS)}")


def test_a_policy_error_asks_to_fix_the_deployment() -> None:
    assert issubclass(PolicyError, BundleError)


FIELDS = """
schema_version name mode temperature gate hazards controversial unsafe default action threshold
always tenants acme S7_hate other levels labels roles tool
"""
KEYS = st.sampled_from(FIELDS.split())
VALUES = st.recursive(
    st.sampled_from(
        ['"block"', '"loose"', "1", "0.5", "true", "nan", "-inf", '""', "[]", "07:32:00"]
    ),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3).map(
        lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
    ),
    max_leaves=8,
)


@given(table=st.dictionaries(KEYS, VALUES, max_size=8), start=st.sampled_from(["", MINIMAL]))
@settings(deadline=None, max_examples=200)
def test_no_toml_stops_a_policy_from_being_read_or_refused(
    table: dict[str, str], start: str
) -> None:
    text = start + "".join(f"{key} = {value}\n" for key, value in table.items())
    try:
        policy = _parse(text)
    except PolicyError as error:
        # It names a field, or the line that is no TOML.
        if start and not re.search("|".join([*table, "line"]), str(error)):
            raise
        return
    assert start == MINIMAL
    assert policy.digest == hashlib.sha256(text.encode()).hexdigest()


@given(text=st.binary(max_size=40))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_a_policy_error(text: bytes) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(text)


PROBABILITY = st.floats(min_value=0.01, max_value=0.99)


@given(low=PROBABILITY, high=PROBABILITY, other=PROBABILITY)
@settings(deadline=None)
def test_no_accepted_policy_has_thresholds_out_of_order(
    low: float, high: float, other: float
) -> None:
    text = MINIMAL.replace("0.5, unsafe = 0.5", f"{low!r}, unsafe = {high!r}")
    text += f"tenants.acme.gate.unsafe = {other!r}\n"
    if low <= min(high, other):
        gate = _parse(text).rules("acme").level1
        assert gate == Level1Thresholds(controversial=low, unsafe=other)
    else:
        assert len(_problems(text)) == (low > high) + (low > other)
