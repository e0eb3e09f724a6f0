"""Scoring of shards on Ray. No other file here uses Ray.

Ray Data carries descriptions of shards, not rows. It re-cuts, merges and recomputes its own blocks,
so a block cannot have an output that exists exactly once; a shard has its part. Ray Data provides
the pool of actors, limits the shards in flight, and reassigns shards of actors and nodes that died.
"""

import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import ray.data
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import hazgate
from hazgate import errors
from hazgate.bundle.bundle import Bundle
from hazgate.documents.decode import decode, encode
from hazgate.documents.problems import list_problems
from hazgate.engine.options import EngineOptions
from hazgate.engine.processor import n_processors
from hazgate.errors import BundleError, HazgateError, InferenceError
from hazgate.gate import Gate
from hazgate.judge import open_gate
from hazgate.judging.policy import Policy
from hazgate.text.reading import Reading
from hazgate_scale.corpus.inputs import InputFile
from hazgate_scale.corpus.manifest import Judge
from hazgate_scale.corpus.output import Output
from hazgate_scale.corpus.shards import Shard
from hazgate_scale.corpus.tally import Tally
from hazgate_scale.corpus.work import Job, do_shard

# Only descriptions of shards are stored; Ray accepts no less.
_OBJECT_STORE_BYTES = 80 << 20
# Ray Data retries a shard without limit when its worker ends. A shard that ends every worker (out
# of memory, a fault of the engine) must be reported, not tried for ever.
_MAX_TRIES = 4
_QUEUED_PER_ACTOR = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorPlacement:
    """Placement of a run's engines on Ray.

    Attributes:
        address: address of a Ray cluster; None starts one on this machine, and stops it.
        n_actors: number of engines; None takes as many as processors allow.
        threads: threads of an engine, and processors that Ray reserves for it.
        memory_bytes: memory that Ray reserves for an engine.
    """

    address: str | None = None
    n_actors: int | None = None
    threads: int = 1
    memory_bytes: int = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorSetup:
    """Everything that an actor needs to open its gate; `bundle` is valid on every node."""

    bundle: str
    policy: Policy | None
    threads: int
    job: Job
    output_uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    file: InputFile
    shard: Shard


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """An actor's answer. Errors are data, because Ray would wrap them and retry the shard."""

    tally: Tally | None
    error: str | None
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeReport:
    """Versions on a node, and the bundle's digest or the reason why there is none."""

    python: str
    ray: str
    hazgate: str
    bundle: str


@contextmanager
def connected(placement: ActorPlacement) -> Iterator[int]:
    """Connect to Ray while the block runs; yield the number of actors.

    Raises:
        BundleError: the cluster is missing or runs other versions of Python or Ray.
    """
    _quieten()
    try:
        if placement.address is None:
            n_local = placement.n_actors or max(1, n_processors() // placement.threads)
            # Ray would send usage statistics to its makers.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(
                address="local",
                num_cpus=n_local * placement.threads,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=placement.address, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ConnectionError, ValueError) as error:
        raise BundleError(
            f"Ray cannot be used: {error}\nDoes it run at --address, with the same versions? If it "
            "asks for a token, set RAY_AUTH_MODE=token as its nodes have it."
        ) from error
    try:
        room = _room_for(placement)
        yield placement.n_actors or room
    finally:
        ray.shutdown()


def check_nodes(bundle: str, judge: Judge) -> None:
    """Compare every node with this one, and its bundle with the run's bundle.

    Raises:
        BundleError: a node has other versions, or another or no bundle at that path; names all of
            them.
    """
    own = _report(bundle, judge.variant)
    probe = ray.remote(_report)
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    asked = {
        name: probe.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False)
        ).remote(bundle, judge.variant)
        for name in nodes
    }
    problems: list[str] = []
    for name, answer in asked.items():
        subject = f"node {nodes[name]} ({name[:8]})"
        try:
            found: NodeReport = ray.get(answer)
        except RayError as error:
            last = str(error).strip().splitlines()[-1]
            problems.append(f"{subject}: does not answer: {last}")
            continue
        problems += [
            f"{subject}: {what} {getattr(found, what)}, here {getattr(own, what)}"
            for what in ("python", "ray", "hazgate")
            if getattr(found, what) != getattr(own, what)
        ]
        if found.bundle != judge.digest:
            problems.append(f"{subject}: bundle {found.bundle}, here {judge.digest}")
    if problems:
        raise BundleError(
            f"the cluster's nodes differ:{list_problems(problems)}\n"
            "Install the same versions and copy the same bundle to the same path on each."
        )


def do_shards(
    engine: ActorSetup,
    inputs: Sequence[InputFile],
    shards: Sequence[Shard],
    placement: ActorPlacement,
    n_actors: int,
) -> Iterator[Tally]:
    """Score shards; yield each one's tally when it is committed.

    Raises:
        HazgateError: a worker's error, of its own class.
        InferenceError: workers ended repeatedly.
    """
    tasks = [_Task(file=inputs[shard.file], shard=shard) for shard in shards]
    items = [{"task": json.dumps(encode(task))} for task in tasks]
    outcomes = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Scorer,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=min(n_actors, len(items)), max_tasks_in_flight_per_actor=_QUEUED_PER_ACTOR
        ),
        fn_constructor_args=(engine,),
        num_cpus=placement.threads,
        memory=placement.memory_bytes,
    )
    try:
        for row in outcomes.iter_rows():
            problems: list[str] = []
            outcome = decode(_Outcome, json.loads(row["outcome"]), problems)
            assert outcome is not None, problems
            if outcome.tally is None:
                kind = getattr(errors, outcome.error or "", HazgateError)
                raise kind(outcome.message)
            yield outcome.tally
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise InferenceError(
            f"workers ended before their shards were done: {last}; "
            "finished shards are kept, run the same command again"
        ) from error


class _Scorer:
    """An actor with one engine."""

    def __init__(self, engine: ActorSetup) -> None:
        self._engine = engine
        self._gate: Gate | None = None
        # The tokenizers read it once, when they first need threads.
        os.environ["RAYON_NUM_THREADS"] = str(engine.threads)

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[str]]:
        (text,) = batch["task"]
        problems: list[str] = []
        task = decode(_Task, json.loads(text), problems)
        assert task is not None, problems
        try:
            outcome = _Outcome(tally=self._do(task), error=None, message="")
        except HazgateError as error:
            outcome = _Outcome(tally=None, error=type(error).__name__, message=str(error))
        return {"outcome": [json.dumps(encode(outcome))]}

    def _do(self, task: _Task) -> Tally:
        engine = self._engine
        # Not in the constructor: Ray would retry an error there.
        if self._gate is None:
            self._gate = open_same_gate(engine)
        output = Output.at(engine.output_uri)
        index = task.shard.index
        if output.count_try(index) > _MAX_TRIES:
            raise InferenceError(
                f"shard {index}, {task.shard.start} to {task.shard.end} of {task.file.uri}, ended "
                f"its worker {_MAX_TRIES} times: out of memory, or a fault of the engine; "
                "see Ray's logs, lower --max-row-bytes, or leave that file out"
            )
        tally = do_shard(self._gate, engine.job, output, task.file, task.shard)
        output.forget_tries(index)
        return tally


def open_same_gate(engine: ActorSetup) -> Gate:
    """Open the gate that the driver's manifest describes.

    Raises:
        BundleError: this node has another bundle, or cannot serve it.
    """
    judge, options = engine.job.judge, engine.job.options
    gate = open_gate(
        engine.bundle,
        engine=EngineOptions(variant=judge.variant, threads=engine.threads),
        threshold=None if engine.policy else judge.threshold,
        policy=engine.policy,
        reading=Reading(long_texts=options.long_texts, max_text_bytes=options.max_row_bytes),
    )
    if gate.bundle.digest != judge.digest:
        raise BundleError(
            f"node {platform.node()} has another bundle at {engine.bundle}: "
            f"{gate.bundle.digest}, the run has {judge.digest}; copy the same one to each node"
        )
    return gate


def _report(bundle: str, variant: str) -> NodeReport:
    try:
        digest = Bundle.open_variant(bundle, lambda _: variant).digest
    except BundleError as error:
        digest = f"none ({error})"
    return NodeReport(
        python=platform.python_version(),
        ray=ray.__version__,
        hazgate=hazgate.__version__,
        bundle=digest,
    )


def _room_for(placement: ActorPlacement) -> int:
    """Count the engines for which the cluster's nodes have processors and memory."""

    def room(resources: Mapping[str, float]) -> int:
        return int(
            min(
                resources.get("CPU", 0) // placement.threads,
                resources.get("memory", 0) // placement.memory_bytes,
            )
        )

    n_engines = sum(room(node["Resources"]) for node in ray.nodes() if node["Alive"])
    if n_engines == 0:
        raise BundleError(
            f"no node has {placement.threads} processors and {placement.memory_bytes >> 20} MB for "
            "an engine; see --threads and --memory-mb"
        )
    return n_engines


def _quieten() -> None:
    """Silence Ray: the command shows the run's own progress, and errors are exceptions."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # For the driver and a Ray that it starts; a cluster's nodes log as before.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
