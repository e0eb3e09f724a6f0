"""Which of a bundle's variants runs here."""

from collections.abc import Callable

from hazgate.manifest import AUTO, Manifest

# Less is not worth the rounding, nor certain enough for the same choice at every start.
MIN_SPEEDUP = 1.2


def choose_variant(
    manifest: Manifest, asked: str | None, *, int8_speedup: Callable[[], float]
) -> str:
    """The name of the variant to run.

    Args:
        manifest: the bundle's.
        asked: a name; None for the bundle's default; "auto" for int8 where this processor
            is faster at it and the bundle has it for both levels, else the default.
        int8_speedup: how many times as fast as in float32 it multiplies in int8; asked only if
            the answer matters.
    """
    if asked is None:
        return manifest.default_variant
    if asked != AUTO:
        return asked
    first, *others = (
        [name for name, variant in level.variants.items() if variant.precision == "int8"]
        for level in manifest.levels.values()
    )
    common = [name for name in first if all(name in names for names in others)]
    if common and manifest.default_variant not in common and int8_speedup() >= MIN_SPEEDUP:
        return common[0]
    return manifest.default_variant
