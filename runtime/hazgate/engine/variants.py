"""Which of a bundle's variants runs here."""

from collections.abc import Callable

from hazgate.bundle.manifest import AUTO, Manifest, VariantSpec
from hazgate.engine.providers.table import ProviderSpec
from hazgate.errors import BundleError

# Less is not worth the rounding, nor certain enough for the same choice at every start.
MIN_SPEEDUP = 1.2


def variant_for(manifest: Manifest, asked: str | None, provider: ProviderSpec) -> str:
    """The name of the variant to run on a provider other than the CPU.

    Of a name that was asked for, itself; else the first of the precisions that the provider wants
    which both levels have for it.

    Raises:
        BundleError: the bundle has none that was made for the provider.
    """
    made_for = [
        {
            name: variant.precision
            for name, variant in level.variants.items()
            if provider.name in variant.execution_providers
        }
        for level in manifest.levels.values()
    ]
    common = {name: p for name, p in made_for[0].items() if all(name in own for own in made_for)}
    if asked not in (None, AUTO):
        common = {name: precision for name, precision in common.items() if name == asked}
    for precision in provider.precisions:
        for name, own in common.items():
            if own == precision:
                return name
    what = "no variant" if asked in (None, AUTO) else f"no variant {asked!r}"
    raise BundleError(
        f"{manifest.name} has {what} for {provider.name}, which wants "
        f"{' or '.join(provider.precisions)}; add one to the recipe, as export/README.md says"
    )


def choose_variant(
    manifest: Manifest,
    asked: str | None,
    *,
    int8_speedup: Callable[[], float],
    has_fast_kernels: Callable[[], bool],
) -> str:
    """The name of the variant to run on the CPU.

    Where hazgate-kernels is installed, for whoever names no variant: a fused one, if the bundle
    has it for both levels.

    Args:
        manifest: the bundle's.
        asked: a name; None for the bundle's default; "auto" for int8 where this processor
            is faster at it and the bundle has it for both levels, else the default.
        int8_speedup: how many times as fast as in float32 it multiplies in int8; asked only if
            the answer matters.
        has_fast_kernels: whether hazgate-kernels is installed and knows this processor; asked
            only if the answer matters.
    """
    if asked not in (None, AUTO):
        return asked
    fused = _common(manifest, lambda variant: variant.kind == "fused")
    if fused and has_fast_kernels():
        return fused[0]
    if asked is None:
        return manifest.default_variant
    int8 = _common(manifest, lambda v: v.precision == "int8" and v.kind != "fused")
    if int8 and manifest.default_variant not in int8 and int8_speedup() >= MIN_SPEEDUP:
        return int8[0]
    return manifest.default_variant


def _common(manifest: Manifest, wanted: Callable[[VariantSpec], bool]) -> list[str]:
    """Names of the variants that every level has and that are wanted in each."""
    first, *others = (
        [name for name, variant in level.variants.items() if wanted(variant)]
        for level in manifest.levels.values()
    )
    return [name for name in first if all(name in names for names in others)]
