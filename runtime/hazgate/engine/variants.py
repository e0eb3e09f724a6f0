"""The choice of one of a bundle's variants for this host."""

from collections.abc import Callable

from hazgate.bundle.manifest import AUTO, Manifest, VariantSpec
from hazgate.engine.kernels import has_fast_kernels
from hazgate.engine.processor import int8_instructions
from hazgate.engine.providers.table import CPU, ProviderSpec
from hazgate.errors import BundleError


def choose_variant(
    manifest: Manifest,
    asked: str | None,
    provider: ProviderSpec,
    *,
    has_kernels: Callable[[], bool] = has_fast_kernels,
    int8: Callable[[], str | None] = int8_instructions,
) -> str:
    """Return the name of the variant to run on a provider.

    On the CPU: the variant asked for; without one a fused variant where hazgate-kernels is
    installed, else the bundle's default. With "auto" also an int8 variant, if the processor has
    instructions for int8. On another provider: the first variant of the precisions that it wants.
    A variant with early exits is an approximation: it is taken only by its name.

    Args:
        manifest: the bundle's manifest.
        asked: a name, None, or "auto".
        provider: the provider that will run the variant.
        has_kernels: tells whether hazgate-kernels knows this processor; called only if the
            answer matters.
        int8: returns the processor's instruction set for int8, or None; called only if the
            answer matters.

    Raises:
        BundleError: a level has no such variant, or none that was made for the provider.
    """
    if provider.name != CPU:
        return _for_provider(manifest, asked, provider)
    if asked not in (None, AUTO):
        for level, spec in manifest.levels.items():
            if asked not in spec.variants:
                raise BundleError(
                    f"{level} has no variant {asked!r}, only {', '.join(spec.variants)}"
                )
        return asked
    fused = _common(manifest, lambda v: v.kind == "fused" and v.exits is None)
    if fused and has_kernels():
        return fused[0]
    if asked is None:
        return manifest.default_variant
    quantized = _common(manifest, lambda v: v.precision == "int8" and v.kind != "fused")
    if quantized and manifest.default_variant not in quantized and int8() is not None:
        return quantized[0]
    return manifest.default_variant


def _for_provider(manifest: Manifest, asked: str | None, provider: ProviderSpec) -> str:
    made_for = _common(manifest, lambda v: provider.name in v.execution_providers)
    if asked not in (None, AUTO):
        made_for = [name for name in made_for if name == asked]
    precisions = next(iter(manifest.levels.values())).variants
    for precision in provider.precisions:
        for name in made_for:
            if precisions[name].precision == precision:
                return name
    missing = "no variant" if asked in (None, AUTO) else f"no variant {asked!r}"
    raise BundleError(
        f"{manifest.name} has {missing} for {provider.name}, which wants "
        f"{' or '.join(provider.precisions)}; add one to the recipe, as export/README.md says"
    )


def _common(manifest: Manifest, wanted: Callable[[VariantSpec], bool]) -> list[str]:
    """Return the names of the variants that every level has and `wanted` accepts in each."""
    first, *others = (
        [name for name, variant in level.variants.items() if wanted(variant)]
        for level in manifest.levels.values()
    )
    return [name for name in first if all(name in names for names in others)]
