"""Left to choose, hazgate takes int8 where it is fast, and otherwise what the bundle says."""

import pytest

from hazgate.manifest import Manifest
from hazgate.variants import choose_variant
from tests.support.manifests import manifest_data, spell


def _manifest(default: str, *, int8_in: tuple[str, ...] = ("level1", "level2")) -> Manifest:
    data = manifest_data()
    for name in int8_in:
        variants = data["levels"][name]["variants"]
        variants["int8"] = {**variants["fp32"], "precision": "int8"}
    data["default_variant"] = default
    return Manifest.parse(spell(data))


def _must_not_be_asked() -> float:
    raise AssertionError


@pytest.mark.parametrize(("speedup", "expected"), [(3.0, "int8"), (1.2, "int8"), (1.1, "fp32")])
def test_auto_takes_int8_where_it_is_faster(speedup: float, expected: str) -> None:
    assert choose_variant(_manifest("fp32"), "auto", int8_speedup=lambda: speedup) == expected


def test_auto_takes_no_variant_that_a_level_lacks() -> None:
    manifest = _manifest("fp32", int8_in=("level2",))
    assert choose_variant(manifest, "auto", int8_speedup=lambda: 3.0) == "fp32"


def test_auto_leaves_an_int8_default_alone() -> None:
    assert choose_variant(_manifest("int8"), "auto", int8_speedup=lambda: 0.5) == "int8"


@pytest.mark.parametrize(("asked", "expected"), [(None, "fp32"), ("int8", "int8"), ("x", "x")])
def test_a_name_and_the_default_need_no_look_at_the_processor(
    asked: str | None, expected: str
) -> None:
    chosen = choose_variant(_manifest("fp32"), asked, int8_speedup=_must_not_be_asked)
    assert chosen == expected
