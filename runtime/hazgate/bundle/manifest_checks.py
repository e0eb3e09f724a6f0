"""The strict reading of a manifest: every problem at once.

Unknown, missing and contradictory fields are reported together, and a schema that this version
does not know is refused.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hazgate.bundle.exit_checks import exit_contradictions
from hazgate.bundle.language_specs import language_problems
from hazgate.bundle.manifest import (
    AUTO,
    MANIFEST_FILE,
    SCHEMA_VERSION,
    CascadeSpec,
    LevelSpec,
    Manifest,
    TokenizerSpec,
    is_inside,
    is_turn,
    schema_version_of,
)
from hazgate.documents.decode import decode
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems, refuse_newer, wrong_version
from hazgate.errors import ManifestError
from hazgate.judging.tags import tag_problems

_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_manifest(text: bytes) -> Manifest:
    """Return the manifest that `text` contains.

    Raises:
        ManifestError: the text is not JSON, has another schema, or has wrong fields; names all of
            them.
    """
    data = parse_json(text, source=MANIFEST_FILE, error=ManifestError)
    cure = "export the bundle with this version"
    refuse_newer(data, SCHEMA_VERSION, source=MANIFEST_FILE, cure=cure, error=ManifestError)
    problems: list[str] = []
    manifest = decode(Manifest, data, problems)
    if manifest is not None:
        problems.extend(_contradictions(manifest))
    if manifest is None or problems:
        listed = list_problems(problems)
        raise ManifestError(f"{MANIFEST_FILE} is not a valid manifest:{listed}")
    return manifest


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong although every field has the right type."""
    yield from wrong_version(
        manifest.schema_version, schema_version_of(manifest.levels, manifest.languages)
    )
    for path, file in manifest.files.items():
        if not is_inside(path):
            yield f"$.files.{path}: must be a relative path inside the bundle"
        if not _SHA256.fullmatch(file.sha256):
            yield f"$.files.{path}.sha256: expected 64 hexadecimal digits"
        if file.size_bytes < 0:
            yield f"$.files.{path}.size_bytes: must not be negative, got {file.size_bytes}"
    for name, level in manifest.levels.items():
        yield from _level_contradictions(manifest, f"$.levels.{name}", level)
    for body in manifest.bodies():
        yield from _body_contradictions(manifest, body)
    yield from exit_contradictions(manifest)
    if not manifest.levels:
        yield "$.levels: must have at least one level"
    if manifest.cascade is not None:
        yield from _cascade_contradictions(manifest, manifest.cascade)
    if manifest.canaries is not None and manifest.canaries not in manifest.files:
        yield f"$.canaries: {manifest.canaries!r} is not in $.files"
    if manifest.languages is not None:
        yield from language_problems(manifest.languages)
    if not is_turn(manifest.conversation.turn):
        yield (
            "$.conversation.turn: expected {content} once and no other field than {role}, "
            f"got {manifest.conversation.turn!r}"
        )


def _level_contradictions(manifest: Manifest, path: str, level: LevelSpec) -> Iterator[str]:
    if len(level.labels) < 2 or len(set(level.labels)) < len(level.labels):
        yield f"{path}.labels: expected two or more different labels, got {list(level.labels)}"
    yield from _decision_contradictions(path, level)
    yield from _output_contradictions(path, level)
    if level.tokenizer.max_tokens < 1:
        yield f"{path}.tokenizer.max_tokens: must be positive, got {level.tokenizer.max_tokens}"
    if not 1 <= level.tokenizer.window_tokens <= level.tokenizer.max_tokens:
        yield (
            f"{path}.tokenizer.window_tokens: must be from 1 to max_tokens, "
            f"got {level.tokenizer.window_tokens}"
        )
    if not 0 <= level.tokenizer.overlap_tokens < level.tokenizer.window_tokens:
        yield (
            f"{path}.tokenizer.overlap_tokens: must be from 0 to less than window_tokens, "
            f"got {level.tokenizer.overlap_tokens}"
        )
    close = level.tokenizer.close_tokens
    if close is not None and not 0 < close < level.tokenizer.window_tokens:
        yield (
            f"{path}.tokenizer.close_tokens: must be positive and under window_tokens, got {close}"
        )
    yield from _wrong_sentences(f"{path}.tokenizer", level.tokenizer)
    if level.tokenizer.file not in manifest.files:
        yield f"{path}.tokenizer.file: {level.tokenizer.file!r} is not in $.files"
    if manifest.default_variant not in level.variants:
        yield f"{path}.variants: the default {manifest.default_variant!r} is missing"
    if AUTO in level.variants:
        yield f"{path}.variants: {AUTO!r} cannot name a variant, it asks hazgate to choose one"
    for name, variant in level.variants.items():
        for file in variant.files:
            if file not in manifest.files:
                yield f"{path}.variants.{name}: {file!r} is not in $.files"
        for figure in ("max_abs_logit_diff", "max_invariance_diff"):
            value = getattr(variant.parity, figure)
            # An infinite one, which JSON spells 1e999, would let any logits pass as proven.
            if not 0 <= value < math.inf:
                yield (
                    f"{path}.variants.{name}.parity.{figure}: must be a finite number from 0, "
                    f"got {value}"
                )
        if not variant.execution_providers:
            yield f"{path}.variants.{name}.execution_providers: must name at least one"


def _wrong_sentences(path: str, spec: TokenizerSpec) -> Iterator[str]:
    from_tokens, margin = spec.sentences_from_tokens, spec.sentence_margin
    if spec.close_tokens is None and (from_tokens is not None or margin is not None):
        yield f"{path}: sentences_from_tokens and sentence_margin mean nothing without close_tokens"
    elif from_tokens is not None and from_tokens <= (spec.close_tokens or 0):
        yield f"{path}.sentences_from_tokens: must be over close_tokens, got {from_tokens}"
    if margin is not None and not 0 <= margin < math.inf:
        yield f"{path}.sentence_margin: must be a finite number from 0, got {margin}"


def _body_contradictions(manifest: Manifest, body: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with levels that share a body."""
    first, *others = ((name, manifest.levels[name]) for name in body)
    for name, level in others:
        for part in ("family", "pooling", "tokenizer", "base", "adapter"):
            if getattr(level, part) != getattr(first[1], part):
                yield f"$.levels.{name}.{part}: expected that of {first[0]}, whose graphs it shares"
        for variant, spec in level.variants.items():
            if (
                replace(spec, parity=first[1].variants[variant].parity)
                != first[1].variants[variant]
            ):
                yield (
                    f"$.levels.{name}.variants.{variant}: expected that of {first[0]}, whose graph "
                    "it shares, but for parity"
                )
    taken: dict[int, str] = {}
    for name in body:
        level = manifest.levels[name]
        if level.columns is None:
            continue
        columns = range(*level.own_columns.indices(level.n_logits))
        if level.columns.first < 0 or len(columns) < len(level.labels):
            yield (
                f"$.levels.{name}.columns: expected {len(level.labels)} columns from 0 to under "
                f"width, got first {level.columns.first} of {level.columns.width}"
            )
        if level.columns.width != first[1].n_logits:
            yield f"$.levels.{name}.columns.width: expected that of {first[0]}, {first[1].n_logits}"
        both = sorted({taken[column] for column in columns if column in taken})
        if both:
            yield f"$.levels.{name}.columns: are also those of {', '.join(both)}"
        taken.update(dict.fromkeys(columns, name))


def _decision_contradictions(path: str, level: LevelSpec) -> Iterator[str]:
    """Yield what is wrong with a level's own thresholds."""
    positive = level.positive
    if positive is not None:
        if positive.label not in level.labels:
            yield f"{path}.positive.label: {positive.label!r} is not a label of the level"
        if not _is_threshold(positive.threshold):
            yield (f"{path}.positive.threshold: must be between 0 and 1, got {positive.threshold}")
    if level.thresholds is not None and level.activation != "sigmoid":
        yield f"{path}.thresholds: are for a multi-label level, whose activation is sigmoid"
    if positive is not None and positive.label in (level.thresholds or {}):
        yield f"{path}.thresholds.{positive.label}: `positive` states it already"
    for label, threshold in (level.thresholds or {}).items():
        if label not in level.labels:
            yield f"{path}.thresholds: {label!r} is not a label of the level"
        if not _is_threshold(threshold):
            yield f"{path}.thresholds.{label}: must be between 0 and 1, got {threshold}"


def _output_contradictions(path: str, level: LevelSpec) -> Iterator[str]:
    """Yield what is wrong with a level of tokens, or with a part of one at a level of texts."""
    if not level.per_token:
        for part in ("outside", "tagged"):
            if getattr(level, part) is not None:
                yield f"{path}.{part}: is for a token level, whose output is tokens"
        return
    if len(set(level.labels)) == len(level.labels):
        yield from (f"{path}.{problem}" for problem in tag_problems(level.labels, level.outside))
    if level.activation != "softmax":
        yield f"{path}.activation: a token level has one tag for each token, which is softmax"
    for part in ("columns", "positive"):
        if getattr(level, part) is not None:
            yield f"{path}.{part}: a token level has none"


def _is_threshold(value: float) -> bool:
    return math.isfinite(value) and 0 < value < 1


def _cascade_contradictions(manifest: Manifest, cascade: CascadeSpec) -> Iterator[str]:
    gate = manifest.levels.get(cascade.level1)
    if gate is None:
        yield f"$.cascade.gate: no level {cascade.level1!r}"
    elif cascade.positive_label not in gate.labels:
        yield f"$.cascade.positive_label: {cascade.positive_label!r} is not a label of level1"
    if gate is not None and gate.positive is not None:
        yield f"$.levels.{cascade.level1}.positive: the cascade states it already"
    if cascade.level2 not in manifest.levels or cascade.level2 == cascade.level1:
        yield f"$.cascade.hazards: expected another level, got {cascade.level2!r}"
    for part, name in (("gate", cascade.level1), ("hazards", cascade.level2)):
        if name in manifest.levels and manifest.levels[name].per_token:
            yield f"$.cascade.{part}: {name} is a token level, which gives no label of a text"
    if not _is_threshold(cascade.threshold):
        yield f"$.cascade.threshold: must be between 0 and 1, got {cascade.threshold}"
