"""A manifest may say of early exits only what can be."""

from collections.abc import Callable
from typing import Any

import pytest

from hazgate import BundleError, ManifestError
from hazgate.bundle.manifest_checks import parse_manifest
from hazgate.engine.providers.table import find_provider
from hazgate.engine.variants import choose_variant
from tests.support.exits import manifest_with_exits
from tests.support.manifests import spell

Change = Callable[[dict[str, Any]], object]


def _level1(data: dict[str, Any]) -> dict[str, Any]:
    level: dict[str, Any] = data["levels"]["level1"]
    return level


def _early(data: dict[str, Any]) -> dict[str, Any]:
    variant: dict[str, Any] = _level1(data)["variants"]["early"]
    return variant


WRONG: dict[str, tuple[Change, str]] = {
    "an older schema": (lambda d: d.update(schema_version=3), "expected 4, got 3"),
    "no such file": (lambda d: d["files"].pop("level1-exits.json"), "'level1-exits.json' is not"),
    "unknown field": (lambda d: _early(d)["exits"].update(limit=1), "exits.limit: unknown field"),
    "layers out of order": (
        lambda d: _early(d)["exits"].update(after_layers=[2, 2]),
        "exits.after_layers: expected ascending",
    ),
    "no layer": (lambda d: _early(d)["exits"].update(after_layers=[]), "after_layers: expected"),
    "layer zero": (lambda d: _early(d)["exits"].update(after_layers=[0, 1]), "after_layers: exp"),
    "a portable graph": (lambda d: _early(d).update(kind="portable"), "a packed graph of kind"),
    "sigmoid": (lambda d: _level1(d).update(activation="sigmoid"), "two labels of a text under"),
    "three labels": (lambda d: _level1(d)["labels"].append("other"), "two labels of a text under"),
    "Level 2": (
        lambda d: d["levels"]["level2"]["variants"]["early"].update(exits=_early(d)["exits"]),
        "in a cascade only level1",
    ),
    "the default": (lambda d: d.update(default_variant="early"), "asked for by name"),
    "a body for several": (
        lambda d: _level1(d).update(columns={"first": 0, "width": 2}),
        "the level shares its body",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_exits_are_refused_by_name(case: str) -> None:
    change, expected = WRONG[case]
    data = manifest_with_exits()
    change(data)
    with pytest.raises(ManifestError) as error:
        parse_manifest(spell(data))
    assert expected in str(error.value)


def test_a_lone_level_with_exits_needs_a_positive_label() -> None:
    data = manifest_with_exits()
    del data["levels"]["level2"], data["cascade"]
    with pytest.raises(ManifestError, match="nothing says which label flags a text"):
        parse_manifest(spell(data))


def test_the_probe_file_is_among_a_variants_files() -> None:
    manifest = parse_manifest(spell(manifest_with_exits()))
    assert "level1-exits.json" in manifest.files_of("early")
    assert "level1-exits.json" not in manifest.files_of("fp32")


@pytest.mark.parametrize("asked", [None, "auto"])
def test_a_variant_with_exits_is_never_chosen_by_itself(asked: str | None) -> None:
    manifest = parse_manifest(spell(manifest_with_exits()))
    cpu = find_provider("cpu")
    chosen = choose_variant(manifest, asked, cpu, has_kernels=lambda: True, int8=lambda: "vnni")
    assert chosen == "fp32"


def test_a_variant_with_exits_is_taken_by_its_name() -> None:
    manifest = parse_manifest(spell(manifest_with_exits()))
    assert choose_variant(manifest, "early", find_provider("cpu")) == "early"
    with pytest.raises(BundleError, match="no variant 'late'"):
        choose_variant(manifest, "late", find_provider("cpu"))
