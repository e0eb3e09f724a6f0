"""Left to choose, hazgate takes int8 where it is fast, and otherwise what the bundle says."""

from collections.abc import Callable
from typing import NoReturn

import pytest

from hazgate.bundle.manifest import Manifest
from hazgate.bundle.manifest_checks import parse_manifest
from hazgate.engine.providers.table import find_provider
from hazgate.engine.variants import choose_variant
from hazgate.errors import BundleError
from tests.support.manifests import manifest_data, spell

LEVELS = ("level1", "level2")


def _manifest(
    default: str, *, int8_in: tuple[str, ...] = LEVELS, fused_in: tuple[str, ...] = ()
) -> Manifest:
    data = manifest_data()
    for name in LEVELS:
        variants = data["levels"][name]["variants"]
        if name in int8_in:
            variants["int8"] = {**variants["fp32"], "precision": "int8"}
        if name in fused_in:
            variants["fast"] = {**variants["fp32"], "precision": "int8", "kind": "fused"}
    data["default_variant"] = default
    return parse_manifest(spell(data))


def _must_not_be_asked() -> NoReturn:
    raise AssertionError


def _choose(
    manifest: Manifest,
    asked: str | None,
    *,
    int8: Callable[[], str | None] = _must_not_be_asked,
    kernels: Callable[[], bool] = _must_not_be_asked,
) -> str:
    cpu = find_provider("cpu")
    return choose_variant(manifest, asked, cpu, has_kernels=kernels, int8=int8)


@pytest.mark.parametrize(
    ("instructions", "expected"), [("avx512_vnni", "int8"), ("asimddp", "int8"), (None, "fp32")]
)
def test_auto_takes_int8_where_the_processor_has_instructions_for_it(
    instructions: str | None, expected: str
) -> None:
    assert _choose(_manifest("fp32"), "auto", int8=lambda: instructions) == expected


def test_auto_takes_no_variant_that_a_level_lacks() -> None:
    manifest = _manifest("fp32", int8_in=("level2",))
    assert _choose(manifest, "auto", int8=lambda: "avx_vnni") == "fp32"


def test_auto_leaves_an_int8_default_alone() -> None:
    assert _choose(_manifest("int8"), "auto") == "int8"


@pytest.mark.parametrize(("asked", "expected"), [(None, "fp32"), ("int8", "int8")])
def test_a_name_and_the_default_need_no_look_at_the_processor(
    asked: str | None, expected: str
) -> None:
    assert _choose(_manifest("fp32"), asked) == expected


def test_a_variant_that_a_level_lacks_is_refused_by_name() -> None:
    for manifest, asked in ((_manifest("fp32"), "x"), (_manifest("fp32", int8_in=()), "int8")):
        with pytest.raises(BundleError, match=f"has no variant '{asked}', only fp32"):
            _choose(manifest, asked)


@pytest.mark.parametrize(
    ("asked", "has_kernels", "expected"),
    [
        (None, True, "fast"),
        (None, False, "fp32"),
        ("auto", True, "fast"),
        ("auto", False, "int8"),
        ("fp32", True, "fp32"),
        ("fast", False, "fast"),
    ],
)
def test_a_fused_variant_is_taken_if_its_kernels_are_installed_and_no_other_is_requested(
    asked: str | None, has_kernels: bool, expected: str
) -> None:
    manifest = _manifest("fp32", fused_in=LEVELS)
    chosen = _choose(manifest, asked, int8=lambda: "avx2", kernels=lambda: has_kernels)
    assert chosen == expected


def test_a_fused_variant_that_a_level_lacks_is_not_taken() -> None:
    manifest = _manifest("fp32", fused_in=("level1",))
    assert _choose(manifest, None, kernels=lambda: True) == "fp32"
