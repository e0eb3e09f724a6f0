"""The manifest of a run, and its comparison with a requested run."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hazgate.documents.decode import decode, encode
from hazgate.errors import OutputError
from hazgate_scale.corpus.inputs import InputFile
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.preflight import BadFile
from hazgate_scale.corpus.shards import Shard

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """The source of verdicts: bundle by digest, variant, and threshold or policy.

    `threshold` is the effective one, `policy` a digest, `labels` the hazards in order, and `levels`
    the labels of each level beside the cascade that was asked for.
    """

    bundle: str
    digest: str
    variant: str
    threshold: float
    policy: str | None
    labels: tuple[str, ...]
    hazgate: str
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunManifest:
    """The work of a run, fixed before it begins.

    `schema` describes the columns of its parts, see `hazgate_scale.corpus.schemas.schema_text`.
    """

    schema_version: int
    options: CorpusOptions
    judge: Judge
    inputs: tuple[InputFile, ...]
    bad_files: tuple[BadFile, ...]
    schema: str
    shards: tuple[Shard, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, which every part of the run carries."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()


def parse_manifest(text: bytes, source: str) -> RunManifest:
    """Parse a manifest.

    Raises:
        OutputError: `text` is no manifest, or one of another version.
    """
    problems: list[str] = []
    try:
        found = decode(RunManifest, json.loads(text), problems)
    except ValueError:
        found = None
    if found is None or problems or found.schema_version != SCHEMA_VERSION:
        raise OutputError(
            f"{source} is not the manifest of a run of this version ({SCHEMA_VERSION}); "
            "name another --output"
        )
    return found


def differences(
    kept: RunManifest, options: CorpusOptions, judge: Judge, inputs: tuple[InputFile, ...]
) -> list[str]:
    """List how a requested run differs from the run that was begun."""
    return [
        *_fields("", encode(kept.options), encode(options)),
        *_fields("judge.", encode(kept.judge), encode(judge)),
        *changed_inputs(kept.inputs, inputs),
    ]


def changed_inputs(before: tuple[InputFile, ...], after: tuple[InputFile, ...]) -> list[str]:
    """List inputs that are missing, new or changed."""
    old = {file.uri: file for file in before}
    new = {file.uri: file for file in after}
    return [
        *(f"input {uri}: gone" for uri in old if uri not in new),
        *(f"input {uri}: new" for uri in new if uri not in old),
        *(
            f"input {uri}: changed ({old[uri].size_bytes} bytes then, {file.size_bytes} now)"
            for uri, file in new.items()
            if uri in old and file != old[uri]
        ),
    ]


def _fields(prefix: str, then: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name, value in then.items():
        if now[name] != value:
            yield f"{prefix}{name}: {value} then, {now[name]} now"
