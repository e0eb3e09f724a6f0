"""The probe file of a level that is opened: the bundle's own, or one that was fitted anew."""

from hazgate.bundle.bundle import Bundle
from hazgate.documents.files import read_bytes
from hazgate.engine.exit_audit import OpenExits
from hazgate.engine.exits import Exits
from hazgate.engine.options import ExitOptions
from hazgate.errors import BundleError


def open_exits(bundle: Bundle, level: str, variant: str, options: ExitOptions) -> OpenExits | None:
    """Open the early exits of a level's variant; None if it has none.

    Args:
        bundle: a verified bundle.
        level: a name in its manifest.
        variant: one of the level's variants.
        options: the file, and the share that is read whole to see.

    Raises:
        BundleError: the probe file is wrong, or for another graph; or one was given, and no level
            of the variant has exits.
        IntegrityError: the bundle's own file is not the one that was exported.
    """
    if options.file is not None:
        check_takes_exits(bundle, variant, options)
    spec = bundle.manifest.levels[level].variants[variant]
    if spec.exits is None:
        return None
    if options.file is None:
        source, text = spec.exits.file, bundle.read(spec.exits.file)
    else:
        source, text = str(options.file), read_bytes(options.file, error=BundleError)
    exits = Exits.parse(text, source=source)
    digests = {name: file.sha256 for name, file in bundle.manifest.files.items()}
    exits.check_graph(
        source=source,
        level=level,
        graph_sha256=digests[spec.graph],
        weights_sha256=[digests[name] for name in spec.data],
        after_layers=spec.exits.after_layers,
    )
    positive = bundle.manifest.positive_of(level)
    assert positive is not None
    return OpenExits(
        exits=exits,
        source=source,
        positive=bundle.manifest.levels[level].labels.index(positive.label),
        audit_share=options.audit_share,
    )


def check_takes_exits(bundle: Bundle, variant: str, options: ExitOptions) -> str:
    """Return the name of the options' probe file; refuse it if no level of a variant has exits.

    Raises:
        BundleError: it has none; names those that have.
    """
    levels = bundle.manifest.levels.values()
    having = {name for level in levels for name, spec in level.variants.items() if spec.exits}
    if variant not in having:
        raise BundleError(
            f"{options.file} has early exits, and variant {variant!r} of {bundle.manifest.name} "
            f"has none: leave the file out, or ask for {' or '.join(sorted(having)) or 'another'}"
        )
    return str(options.file)
