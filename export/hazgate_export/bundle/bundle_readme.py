"""The README that travels inside a bundle."""

from collections.abc import Iterator, Mapping, Sequence

from hazgate.bundle.language_specs import language_line
from hazgate.bundle.manifest import LevelSpec, Manifest
from hazgate.engine.exits import Exits
from hazgate_export.bundle.report import exits_table, parity_table
from hazgate_export.parity import Parity

_TWIN = """
fp16 and bf16 are for GPUs, and were measured on a float32 twin that rounds where a GPU does.
"""
_EXITS = """
## Early exits

With a variant that has them, texts that are surely safe leave its graph after a layer. Of held-out
windows that the whole graph flags, so many left; at most so many do, with the claim's confidence:

{table}
"""


def bundle_readme(
    manifest: Manifest,
    parities: Sequence[Parity],
    exits: Mapping[tuple[str, str], Exits] | None = None,
) -> str:
    """Write the bundle's README, for a person who finds it.

    Args:
        manifest: the bundle's.
        parities: the measurements of each level and variant.
        exits: the early exits of levels' variants, by both names; None for none.
    """
    levels = "\n".join(
        f"- **{name}** ({', '.join(level.labels)}): {_models(level)}, "
        f"{level.family}, {'no' if level.per_token else level.pooling} pooling, windows of "
        f"{level.tokenizer.window_tokens} tokens; special tokens in a text "
        f"are read as {level.tokenizer.special_tokens_in_text}."
        for name, level in manifest.levels.items()
    )
    precisions = {
        v.precision for level in manifest.levels.values() for v in level.variants.values()
    }
    twin = _TWIN if precisions & {"fp16", "bf16"} else ""
    tools = ", ".join(
        f"{tool} {version}"
        for tool, version in manifest.provenance.items()
        # Keys like "level1.labels" name files, no tools.
        if "." not in tool
    )
    return f"""# {manifest.name}

{manifest.description}

A hazgate bundle: complete, immutable, checked when it is opened. Do not edit its files;
`hazgate verify-files` says whether they are the ones that were exported.

{levels}

{chr(10).join((*_shared_passes(manifest), *_decisions(manifest), *_languages(manifest)))}
The default variant is `{manifest.default_variant}`.

## Parity with PyTorch

Against the base with its adapter applied (PEFT, eager, float32), on hazgate's fixed proof texts:

{parity_table(parities)}
{twin}{_EXITS.format(table=exits_table(exits)) if exits else ""}
## Use

```python
{_use(manifest)}
```

## Made with

{tools}
"""


def _shared_passes(manifest: Manifest) -> Iterator[str]:
    """Yield a line on each pass that computes several levels."""
    for body in manifest.bodies():
        if len(body) > 1:
            *names, last = (f"`{name}`" for name in body)
            yield f"{', '.join(names)} and {last} share one pass: each is a part of its logits."


def _decisions(manifest: Manifest) -> Iterator[str]:
    """Yield lines on what flags a text, and on which labels of a multi-label level hold."""
    cascade = manifest.cascade
    for name, level in manifest.levels.items():
        positive = manifest.positive_of(name)
        if positive is not None:
            yield f"`{name}` flags a text at P({positive.label}) >= {positive.threshold:g}"
            opens = cascade is not None and name == cascade.level1
            more = f"; `{cascade.level2}` is read for flagged texts" if cascade and opens else ""
            yield f"({positive.threshold_source}){more}."
        elif level.per_token:
            yield f"`{name}` finds spans in a text: {', '.join(level.tags.types)}."
        elif cascade is None:
            yield f"`{name}` flags nothing: it gives each label's score."
        if level.activation == "sigmoid":
            stated = zip(level.labels, level.label_thresholds, strict=True)
            from_ = ", ".join(f"{label} {threshold:g}" for label, threshold in stated)
            yield f"Each label of `{name}` holds by itself, from {from_}."


def _languages(manifest: Manifest) -> Iterator[str]:
    """Yield lines on the languages that the bundle vouches for, with their evidence."""
    if manifest.languages is None:
        return
    listed = "; ".join(language_line(tag, spec) for tag, spec in manifest.languages.items())
    yield f"It vouches for {listed}. Texts in other languages are marked `unvouched`."


def _use(manifest: Manifest) -> str:
    if manifest.cascade is not None:
        return """from hazgate import Gate

gate = Gate.open("path/to/this/directory")
verdict = gate.check("some text")"""
    first, spec = next(iter(manifest.levels.items()))
    level = "" if len(manifest.levels) == 1 else f', "{first}"'
    if spec.per_token:
        return f"""from hazgate import TokenClassifier

classifier = TokenClassifier.open("path/to/this/directory"{level})
spans = classifier.find("some text").spans"""
    return f"""from hazgate import Classifier

classifier = Classifier.open("path/to/this/directory"{level})
(answer,) = classifier.classify(["some text"])"""


def _models(level: LevelSpec) -> str:
    if level.adapter is None:
        return level.base.id
    return f"{level.adapter.id} on {level.base.id}"
