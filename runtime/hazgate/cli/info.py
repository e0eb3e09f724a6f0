"""`hazgate info` and `hazgate verify-files`: describe a bundle, and check its files."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.language_specs import language_line
from hazgate.bundle.manifest import AUTO, Manifest
from hazgate.documents.decode import encode
from hazgate.engine.exits import Exits
from hazgate.engine.kernels import instruction_set
from hazgate.engine.processor import int8_instructions
from hazgate.engine.providers.table import PROVIDERS, find_provider
from hazgate.engine.variants import choose_variant
from hazgate.text.languages import finding

_COLUMNS = ("variant", "precision", "scheme", "max |Δlogit|", "decisions changed", "for")


@click.command(epilog="Example: hazgate info build/mini --json")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest with its digest.")
def info(bundle: Path, as_json: bool) -> None:
    """Print what BUNDLE holds and how it was checked."""
    opened = Bundle.open(bundle)
    if as_json:
        click.echo(json.dumps({"digest": opened.digest, **encode(opened.manifest)}, indent=2))
        return
    console = Console()
    manifest = opened.manifest
    size_mb = sum(file.size_bytes for file in manifest.files.values()) / 1e6
    console.print(f"{manifest.name}: {manifest.description}", highlight=False, markup=False)
    console.print(f"digest   {opened.digest}", highlight=False)
    console.print(f"size     {size_mb:.1f} MB in {len(manifest.files)} files", highlight=False)
    for line in (
        *_decision_lines(manifest),
        *_body_lines(manifest),
        *_language_lines(manifest),
        *_exit_lines(opened),
        *_processor_lines(manifest),
    ):
        console.print(line, highlight=False, markup=False)
    for name, level in manifest.levels.items():
        console.print(f"\n{name}: {', '.join(level.labels)}", highlight=False, markup=False)
        for role, source in (("base", level.base), ("adapter", level.adapter)):
            if source is None:
                continue
            revision = f"  revision {source.revision}" if source.revision else ""
            console.print(
                f"  {role:8}{source.id}{revision}  sha256 {source.sha256[:12]}",
                highlight=False,
                markup=False,
            )
        console.print(
            f"  {level.family}, {'no' if level.per_token else level.pooling} pooling, windows of "
            f"{level.tokenizer.window_tokens} tokens, special tokens in a text "
            f"are {level.tokenizer.special_tokens_in_text}",
            highlight=False,
            markup=False,
        )
        table = Table()
        for title in _COLUMNS:
            table.add_column(title, overflow="fold", no_wrap=title == "variant")
        for variant_name, variant in level.variants.items():
            default = " (default)" if variant_name == manifest.default_variant else ""
            row = (
                variant_name + default,
                variant.precision,
                variant.scheme,
                f"{variant.parity.max_abs_logit_diff:.1e}",
                f"{variant.parity.decisions_changed} of {variant.parity.n_decisions}"
                f"{' tags' if level.per_token else ''}",
                ", ".join(map(_short_name, variant.execution_providers)),
            )
            table.add_row(*map(Text, row))
        console.print(table)


def _short_name(provider: str) -> str:
    """Return a provider's alias; the name itself if this hazgate does not know it."""
    return next((spec.alias for spec in PROVIDERS if spec.name == provider), provider)


def _decision_lines(manifest: Manifest) -> Iterator[str]:
    """Yield what flags a text, and which labels of a multi-label level hold."""
    cascade = manifest.cascade
    for name, level in manifest.levels.items():
        positive = manifest.positive_of(name)
        in_cascade = cascade is not None and name == cascade.level1
        if positive is not None:
            yield (
                f"{'cascade' if in_cascade else 'level':9}{name} flags at "
                f"P({positive.label}) >= {positive.threshold:g}"
                f"{f', then {cascade.level2}' if cascade is not None and in_cascade else ''}"
                f"  ({positive.threshold_source})"
            )
        elif level.per_token:
            yield f"level    {name} finds spans: {', '.join(level.tags.types)}"
        elif cascade is None:
            yield f"level    {name} flags nothing: it states no positive label, only scores"
        if level.activation == "sigmoid":
            stated = zip(level.labels, level.label_thresholds, strict=True)
            from_ = ", ".join(f"{label} {threshold:g}" for label, threshold in stated)
            yield f"labels   each of {name} holds by itself, from {from_}"


def _body_lines(manifest: Manifest) -> Iterator[str]:
    """Yield which levels one pass computes."""
    for first, *others in manifest.bodies():
        if others:
            yield f"pass     one computes {', '.join([first, *others])}"


def _language_lines(manifest: Manifest) -> Iterator[str]:
    """Yield the languages that are vouched for, with their recall, and how others are found."""
    if manifest.languages is None:
        yield "language none is vouched for; no text is marked"
        return
    for tag, language in manifest.languages.items():
        yield f"language {language_line(tag, language)}"
    yield f"others   are marked by {finding()}"


def _exit_lines(bundle: Bundle) -> Iterator[str]:
    """Yield what the early exits of each variant claim.

    Raises:
        BundleError: a probe file is wrong.
    """
    for level in bundle.manifest.levels.values():
        for name, variant in level.variants.items():
            if variant.exits is not None:
                file = variant.exits.file
                claim = Exits.parse(bundle.read(file), source=file).claim
                yield f"exits    {name}: {claim.in_words()}"


def _processor_lines(manifest: Manifest) -> list[str]:
    """Return lines on this processor's int8 instructions and the variant that "auto" means."""
    auto = choose_variant(manifest, AUTO, find_provider("cpu"))
    return [
        f"int8     {int8_instructions() or 'no instructions for it on this processor'}",
        f"kernels  {instruction_set() or 'not installed; they come with hazgate[fast]'}",
        f"auto     variant {auto} on this processor",
    ]


@click.command("verify-files", epilog="Example: hazgate verify-files build/mini")
@click.argument("bundle", type=click.Path(path_type=Path))
def verify_files(bundle: Path) -> None:
    """Check that BUNDLE holds exactly the files of its manifest, unchanged."""
    opened = Bundle.open(bundle)
    click.echo(f"ok: {len(opened.manifest.files)} files, digest {opened.digest}")
