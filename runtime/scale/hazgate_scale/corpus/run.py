"""A run, from its arguments to `_SUCCESS` or to the error that ended it."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from fsspec.core import url_to_fs

from hazgate import __version__
from hazgate.documents.decode import encode
from hazgate.documents.problems import list_problems
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError, InputError, OutputError
from hazgate.judge import open_gate
from hazgate.judging.policy import Policy
from hazgate.text.reading import Reading
from hazgate_scale.corpus import output as layout
from hazgate_scale.corpus.cluster import (
    ActorPlacement,
    ActorSetup,
    check_nodes,
    connected,
    do_shards,
)
from hazgate_scale.corpus.inputs import InputFile, find_inputs, refuse
from hazgate_scale.corpus.lock import exclusive
from hazgate_scale.corpus.manifest import (
    SCHEMA_VERSION,
    Judge,
    RunManifest,
    changed_inputs,
    differences,
    parse_manifest,
)
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.output import Output
from hazgate_scale.corpus.preflight import check_files
from hazgate_scale.corpus.review import sample
from hazgate_scale.corpus.schemas import parse_schema, schema_text, verdict_schema
from hazgate_scale.corpus.shards import cut_shards, default_shard_bytes
from hazgate_scale.corpus.tally import Tally, total
from hazgate_scale.corpus.work import Job, read_tally

_N_THREADS = 16

# Called with finished shards, all shards, and rows judged by this run.
OnProgress = Callable[[int, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A complete run.

    `tally` covers all rows. `elapsed_s` and `rows_per_s` cover the last command only, from its
    start; `rows_per_s` is None if nothing was left to do.
    """

    run: str
    output: str
    judge: Judge
    n_files: int
    n_bad_files: int
    n_shards: int
    tally: Tally
    elapsed_s: float
    rows_per_s: float | None


def run_corpus(
    bundle: str,
    patterns: Sequence[str],
    output_uri: str,
    options: CorpusOptions,
    placement: ActorPlacement,
    *,
    variant: str | None = None,
    policy: Policy | None = None,
    shard_bytes: int | None = None,
    on_progress: OnProgress,
) -> Summary:
    """Judge a corpus, or continue a run that was begun.

    Args:
        bundle: its directory, at this path on every node.
        patterns: see `find_inputs`.
        output_uri: a new folder, or that of a run with the same arguments.
        options: options for reading, judging and writing rows.
        placement: placement of the engines.
        variant: variant of the bundle, as in `Gate.open`.
        policy: policy that decides instead of a threshold.
        shard_bytes: approximate size of a shard; None chooses it by the input's size.
        on_progress: called before the first shard and after each.

    Raises:
        BundleError: the bundle cannot be served, or a node has another bundle or other versions.
        InputError: the input cannot be read or has changed.
        OutputError: the output is no run, is another run, or cannot be written.
        InferenceError: the model does not answer.
    """
    output = Output.at(output_uri)
    with exclusive(output):
        return _run_alone(
            bundle, patterns, output, options, placement, variant, policy, shard_bytes, on_progress
        )


def _run_alone(
    bundle: str,
    patterns: Sequence[str],
    output: Output,
    options: CorpusOptions,
    placement: ActorPlacement,
    variant: str | None,
    policy: Policy | None,
    shard_bytes: int | None,
    on_progress: OnProgress,
) -> Summary:
    """Label a corpus in an output that no other driver has; as `run_corpus`."""
    begin = time.monotonic()
    judge = _judge(bundle, options, variant, policy)
    inputs = find_inputs(patterns, options.format)
    _check_apart(patterns, output)
    manifest = _begin_or_continue(output, options, judge, inputs, shard_bytes)
    run = manifest.digest
    job = Job(run=run, options=options, judge=judge, schema=parse_schema(manifest.schema))
    done = _done(output, manifest)
    left = [shard for shard in manifest.shards if shard.index not in done]
    tallies = list(done.values())
    n_judged = 0
    on_progress(len(tallies), len(manifest.shards), 0)
    if left:
        # Remove files of interrupted workers; parts of a complete run may have been removed.
        output.remove(layout.TEMPORARY)
        output.remove(layout.SUCCESS)
        engine = ActorSetup(
            bundle=bundle,
            policy=policy,
            threads=placement.threads,
            job=job,
            output_uri=output.uri,
        )
        with connected(placement) as n_actors:
            # A local Ray runs in this same environment.
            if placement.address is not None:
                check_nodes(bundle, judge)
            for tally in do_shards(engine, inputs, left, placement, n_actors):
                tallies.append(tally)
                n_judged += tally.rows_in
                on_progress(len(tallies), len(manifest.shards), n_judged)
    elapsed_s = time.monotonic() - begin
    changed = changed_inputs(inputs, find_inputs(patterns, options.format))
    if changed:
        raise InputError(
            f"inputs changed while they were read:{list_problems(changed)}\n"
            "Run it again to another --output."
        )
    summary = Summary(
        run=run,
        output=output.uri,
        judge=judge,
        n_files=len(inputs),
        n_bad_files=len(manifest.bad_files),
        n_shards=len(manifest.shards),
        tally=total([*tallies, Tally(errors=_bad(manifest))]),
        elapsed_s=elapsed_s,
        rows_per_s=n_judged / elapsed_s if left else None,
    )
    _finish(output, manifest, summary)
    return summary


def _judge(
    bundle: str, options: CorpusOptions, variant: str | None, policy: Policy | None
) -> Judge:
    """Open the gate as workers will, so that its problems are reported here, once."""
    gate = open_gate(
        bundle,
        engine=EngineOptions(variant=variant, threads=1),
        threshold=options.threshold,
        policy=policy,
        reading=Reading(long_texts=options.long_texts, max_text_bytes=options.max_row_bytes),
    )
    if policy is not None:
        policy.rules(options.tenant)
    # Names every level that is not there.
    gate.ask([], levels=options.levels)
    spans = [name for name in options.levels if name in gate.token_levels]
    if spans:
        raise BundleError(
            f"{', '.join(spans)} of {gate.model.bundle} finds spans, which have no columns in the "
            "output of a corpus yet: leave it out of --levels; a policy's rules for it still decide"
        )
    return Judge(
        bundle=gate.model.bundle,
        digest=gate.model.digest,
        variant=gate.model.variant,
        threshold=gate.threshold,
        policy=policy.digest if policy else None,
        labels=gate.hazards,
        hazgate=__version__,
        levels={name: gate.beside[name].labels for name in options.levels},
    )


def _check_apart(patterns: Sequence[str], output: Output) -> None:
    """Refuse an output below an input folder: its parts would be the next run's inputs."""
    folders = []
    for pattern in patterns:
        fs, path = url_to_fs(pattern)
        folders.append(f"{fs.unstrip_protocol(path)}".rstrip("/") + "/")
    within = [folder for folder in folders if f"{output.uri}/".startswith(folder)]
    refuse([f"{folder} holds the output {output.uri}; name another --output" for folder in within])


def _begin_or_continue(
    output: Output,
    options: CorpusOptions,
    judge: Judge,
    inputs: tuple[InputFile, ...],
    shard_bytes: int | None,
) -> RunManifest:
    names = output.names()
    if layout.MANIFEST in names:
        kept = parse_manifest(output.read(layout.MANIFEST), output.path(layout.MANIFEST))
        problems = differences(kept, options, judge, inputs)
        if problems:
            raise OutputError(
                f"{output.uri} belongs to another run:{list_problems(problems)}\n"
                "Name another --output, or give the arguments of that run."
            )
        return kept
    # Temporary files are all that a run leaves if it ends before it has a manifest.
    if set(names) - {layout.TEMPORARY}:
        raise OutputError(
            f"{output.uri} exists and is no run of hazgate corpus; name another --output"
        )
    checked = check_files(inputs, options)
    if not options.skip_bad_files:
        refuse([f"{bad.uri}: {bad.message}" for bad in checked.bad])
    size = shard_bytes or default_shard_bytes(sum(file.size_bytes for file in inputs))
    own = verdict_schema(judge.labels, judge.levels)
    manifest = RunManifest(
        schema_version=SCHEMA_VERSION,
        options=options,
        judge=judge,
        inputs=inputs,
        bad_files=checked.bad,
        schema=schema_text(pa.schema([*(checked.schema or []), *own])),
        shards=cut_shards(checked.files, size),
    )
    output.write_json(layout.MANIFEST, encode(manifest))
    return manifest


def _done(output: Output, manifest: RunManifest) -> dict[int, Tally]:
    """Read the tallies of committed shards, by index."""
    known = {shard.index for shard in manifest.shards}
    indices = output.part_indices()
    foreign = [layout.part_name(index) for index in indices if index not in known]
    if foreign:
        raise OutputError(f"{output.uri} has parts that belong to no shard: {foreign}; remove them")
    with ThreadPoolExecutor(_N_THREADS) as pool:
        tallies = pool.map(lambda index: read_tally(output, manifest.digest, index), indices)
        return dict(zip(indices, tallies, strict=True))


def _bad(manifest: RunManifest) -> dict[str, int]:
    return {"bad_file": len(manifest.bad_files)} if manifest.bad_files else {}


def _finish(output: Output, manifest: RunManifest, summary: Summary) -> None:
    """Write the files that need every part, then `_SUCCESS`."""
    if layout.SUCCESS in output.names():
        return
    missing = {shard.index for shard in manifest.shards} - set(output.part_indices())
    if missing:
        raise OutputError(f"{output.uri} lacks parts {sorted(missing)}; run the same command again")
    output.write_lines(
        layout.BAD_FILES,
        [
            {"input": bad.uri, "position": None, "error": "bad_file", "message": bad.message}
            for bad in manifest.bad_files
        ],
    )
    options = manifest.options
    if options.n_sample:
        output.write_lines(layout.REVIEW, sample(_candidates(output, manifest), options.n_sample))
    output.write_json(layout.SUMMARY, encode(summary))
    with output.create(layout.SUCCESS):
        pass
    output.remove(layout.TEMPORARY)


def _candidates(output: Output, manifest: RunManifest) -> Iterator[dict[str, object]]:
    for shard in manifest.shards:
        yield from output.read_lines(layout.review_name(shard.index))
