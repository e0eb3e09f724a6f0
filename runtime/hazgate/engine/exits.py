"""The early exits of a graph: probes, limits, and the claim that was proven about them.

A *probe* is linear in the mean of a text's tokens after a layer and gives the log-odds that the
text is unsafe. A text whose log-odds are below the exit's *limit* leaves the graph there. The claim
bounds the share of the windows that the whole model would flag and that leave: for each threshold
by itself, by an exact binomial bound on texts that were not fitted (Learn then Test, Angelopoulos
et al., arXiv 2110.01052). Exits by confidence are those of DeeBERT (Xin et al., arXiv 2004.12993)
and CALM (Schuster et al., arXiv 2207.07061).
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.exit_checks import layer_problems
from hazgate.documents.decode import decode, encode
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems, refuse_newer, wrong_version
from hazgate.errors import BundleError
from hazgate.judging.binomial import tail, upper_bound
from hazgate.judging.scores import log_odds

SCHEMA_VERSION = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Two programs that compute the same bound differ by less.
_BOUND_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """The windows that were counted for one threshold.

    Attributes:
        threshold: P(unsafe) at temperature 1 from which the whole model flags a window.
        n_flagged: windows that the whole model flags.
        n_missed: those of them that leave early.
        upper_bound: of the share missed, one-sided, at the claim's confidence.
        n_texts: windows in all.
        share_left: share of them that leave early.
    """

    threshold: float
    n_flagged: int
    n_missed: int
    upper_bound: float
    n_texts: int
    share_left: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A bound on what early exits miss, and the counts that it follows from.

    With probability `confidence`, at most `max_missed_share` of the windows that the whole model
    flags leave early, at each of `thresholds` by itself.

    Attributes:
        max_missed_share: the bound, in (0, 1).
        confidence: in (0, 1).
        thresholds: P(unsafe) at temperature 1, ascending.
        evidence: one for each threshold, in their order.
        texts_sha256: digest of the texts.
        n_fitted: windows that the probes and limits were fitted on; none of the evidence's.
        source: "recipe" if the build proved it, "calibrate" if hazgate calibrate did.
    """

    max_missed_share: float
    confidence: float
    thresholds: tuple[float, ...]
    evidence: tuple[Evidence, ...]
    texts_sha256: str
    n_fitted: int
    source: Literal["recipe", "calibrate"]

    def in_words(self) -> str:
        """Return the claim as a sentence, with the shares that left at its thresholds."""
        at = ", ".join(f"{each:g}" for each in self.thresholds)
        shares = [each.share_left for each in self.evidence]
        n_texts = max(each.n_texts for each in self.evidence)
        return (
            f"with {self.confidence:.0%} confidence, at most {self.max_missed_share:.2%} of the "
            f"windows that the whole model flags leave early, at each P(unsafe) of {at}; of "
            f"{n_texts} windows, {min(shares):.0%} left (proven by {self.source})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Exits:
    """The early exits of one level's graph.

    Attributes:
        schema_version: of the file.
        level: name of the level.
        graph_sha256: digest of the graph that the probes were fitted on.
        weights_sha256: digests of its external data, in the order of the manifest.
        after_layers: the layers that have an exit, counting from 1, ascending.
        probes: of each exit a weight per hidden unit and, last, the bias.
        limits: of each exit the log-odds below which a text leaves.
        claim: the bound on what leaves and should not.
    """

    schema_version: int
    level: str
    graph_sha256: str
    weights_sha256: tuple[str, ...]
    after_layers: tuple[int, ...]
    probes: tuple[tuple[float, ...], ...]
    limits: tuple[float, ...]
    claim: Claim

    @classmethod
    def parse(cls, text: bytes, *, source: str) -> "Exits":
        """Return the exits of a probe file.

        Args:
            text: the whole file.
            source: its name, for errors.

        Raises:
            BundleError: it is not such a file, or its claim does not follow from its evidence;
                names every problem.
        """
        data = parse_json(text, source=source, error=BundleError)
        refuse_newer(
            data,
            SCHEMA_VERSION,
            source=source,
            cure="write the probe file with this version",
            error=BundleError,
        )
        problems: list[str] = []
        exits = decode(cls, data, problems)
        if exits is not None:
            problems.extend(exit_problems(exits))
        if exits is None or problems:
            raise BundleError(f"{source} is not a valid probe file:{list_problems(problems)}")
        return exits

    def dump(self) -> bytes:
        """Return the file's text: same exits, same bytes.

        Raises:
            ValueError: a number is not finite.
        """
        return (json.dumps(encode(self), indent=1, allow_nan=False) + "\n").encode()

    @property
    def sha256(self) -> str:
        """The digest of the file's text, as `dump` writes it."""
        return hashlib.sha256(self.dump()).hexdigest()

    @property
    def probe_array(self) -> NDArray[np.float32]:
        """The graph's input `probes`, shape [n_exits, hidden + 1]."""
        return np.asarray(self.probes, dtype=np.float32)

    @property
    def limit_array(self) -> NDArray[np.float32]:
        """The graph's input `limits`, shape [n_exits]."""
        return np.asarray(self.limits, dtype=np.float32)

    def check_graph(
        self,
        *,
        source: str,
        level: str,
        graph_sha256: str,
        weights_sha256: Sequence[str],
        after_layers: Sequence[int],
    ) -> None:
        """Refuse exits that were fitted on another graph.

        Args:
            source: the probe file's name, for errors.
            level: the level that is opened.
            graph_sha256: digest of its graph.
            weights_sha256: digests of its external data, in the order of the manifest.
            after_layers: the layers after which the graph has an exit.

        Raises:
            BundleError: it is another level, graph, weights or exits; says both.
        """
        pairs = {
            "level": (self.level, level),
            "graph_sha256": (self.graph_sha256, graph_sha256),
            "weights_sha256": (list(self.weights_sha256), list(weights_sha256)),
            "after_layers": (list(self.after_layers), list(after_layers)),
        }
        problems = [
            f"$.{name}: the probes were fitted on {theirs}, the bundle has {ours}"
            for name, (theirs, ours) in pairs.items()
            if theirs != ours
        ]
        if problems:
            raise BundleError(
                f"{source} is for another graph:{list_problems(problems)}\n"
                "Open it with the bundle that it was fitted on, or fit it again with "
                "hazgate calibrate --exits."
            )


def exit_problems(exits: Exits) -> Iterator[str]:
    """Yield what is wrong with exits although every field has the right type."""
    yield from wrong_version(exits.schema_version, SCHEMA_VERSION)
    for name, digests in (
        ("graph_sha256", (exits.graph_sha256,)),
        ("weights_sha256", exits.weights_sha256),
        ("claim.texts_sha256", (exits.claim.texts_sha256,)),
    ):
        if not all(map(_SHA256.fullmatch, digests)):
            yield f"$.{name}: expected 64 hexadecimal digits"
    yield from layer_problems(exits.after_layers, "$.after_layers")
    yield from _probe_problems(exits)
    claim_problems = list(_claim_problems(exits.claim))
    yield from claim_problems
    if claim_problems:
        return
    lowest = log_odds(min(exits.claim.thresholds))
    for i, limit in enumerate(exits.limits):
        if limit > lowest:
            yield (
                f"$.limits[{i}]: must be at most {lowest:.6g}, the log-odds of the lowest "
                f"threshold, or a text could leave that is flagged; got {limit:.6g}"
            )


def _probe_problems(exits: Exits) -> Iterator[str]:
    n_exits = len(exits.after_layers)
    for name, rows in (("probes", exits.probes), ("limits", exits.limits)):
        if len(rows) != n_exits:
            yield f"$.{name}: expected one for each of {n_exits} exits, got {len(rows)}"
    if len({len(probe) for probe in exits.probes}) > 1 or any(len(p) < 2 for p in exits.probes):
        sizes = [len(probe) for probe in exits.probes]
        yield f"$.probes: expected the same number of weights and a bias in each, got {sizes}"
    for i, probe in enumerate(exits.probes):
        # A number that float32 cannot hold is an infinity to the graph.
        if not all(_is_float32(weight) for weight in probe):
            yield f"$.probes[{i}]: must be finite 32-bit floats"
    for i, limit in enumerate(exits.limits):
        if not _is_float32(limit):
            yield f"$.limits[{i}]: must be a finite 32-bit float, got {limit}"


def _claim_problems(claim: Claim) -> Iterator[str]:
    before = False
    for name in ("max_missed_share", "confidence"):
        value = getattr(claim, name)
        if not 0 < value < 1:
            before = True
            yield f"$.claim.{name}: must be between 0 and 1, got {value}"
    thresholds = claim.thresholds
    ascending = all(b > a for a, b in itertools.pairwise(thresholds))
    if not thresholds or not ascending or not all(0 < t < 1 for t in thresholds):
        before = True
        yield f"$.claim.thresholds: expected ascending, between 0 and 1, got {list(thresholds)}"
    if claim.n_fitted < 1:
        yield f"$.claim.n_fitted: must be positive, got {claim.n_fitted}"
    counted = tuple(each.threshold for each in claim.evidence)
    if counted != thresholds:
        yield (
            f"$.claim.evidence: expected one for each of the thresholds {list(thresholds)} in "
            f"their order, got {list(counted)}"
        )
    if before:
        return
    for i, each in enumerate(claim.evidence):
        yield from _evidence_problems(claim, each, f"$.claim.evidence[{i}]")


def _evidence_problems(claim: Claim, each: Evidence, path: str) -> Iterator[str]:
    if not 0 <= each.n_missed <= each.n_flagged <= each.n_texts or each.n_texts < 1:
        yield (
            f"{path}: expected 0 ≤ n_missed ≤ n_flagged ≤ n_texts, got {each.n_missed}, "
            f"{each.n_flagged}, {each.n_texts}"
        )
        return
    if not 0 <= each.share_left <= 1:
        yield f"{path}.share_left: must be from 0 to 1, got {each.share_left}"
    bound = upper_bound(each.n_missed, each.n_flagged, claim.confidence)
    if not abs(each.upper_bound - bound) <= _BOUND_TOLERANCE:
        yield (
            f"{path}.upper_bound: {each.n_missed} missed of {each.n_flagged} flagged give "
            f"{bound:.6g}, got {each.upper_bound:.6g}"
        )
    if tail(each.n_missed, each.n_flagged, claim.max_missed_share) > 1 - claim.confidence:
        yield (
            f"{path}: {each.n_missed} missed of {each.n_flagged} flagged do not prove that at "
            f"most {claim.max_missed_share:.6g} are missed: the bound is {bound:.6g}"
        )


def _is_float32(value: float) -> bool:
    return abs(value) <= float(np.finfo(np.float32).max)
