"""The steps of `hazgate calibrate --exits`: open, read, fit, prove, write."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import Manifest
from hazgate.cli.progress import counted
from hazgate.documents.files import sha256, write_atomically
from hazgate.engine.exit_claim import ClaimTerms, missing_flagged
from hazgate.engine.exits import Claim, Exits, exit_problems
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError, InferenceError, InputError
from hazgate.gate import Gate
from hazgate.judge import open_gate
from hazgate.judging.policy import Policy
from hazgate_evaluation.calibration.exit_fit import FittedExits, fit_exits
from hazgate_evaluation.calibration.exit_windows import (
    ExitWindows,
    read_traffic,
    read_windows,
)


def write_exits(
    bundle: Path,
    data: Path,
    out: Path,
    variant: str | None,
    thresholds: Sequence[float] = (),
    policy: Path | None = None,
) -> str:
    """Fit the early exits of a bundle on one's own traffic and write a probe file.

    Args:
        bundle: a bundle directory.
        data: texts, one JSON object a line; they need no labels.
        out: the probe file.
        variant: with early exits; None takes the only one.
        thresholds: P(unsafe) for which the claim is proven; empty for those of the bundle's claim.
        policy: a policy whose thresholds are added; None adds none.

    Returns:
        The claim and its counts, in words.

    Raises:
        BundleError: the bundle, the variant or the policy cannot be served, or has no exits.
        InputError: the texts cannot be read, or are too few to prove the claim.
    """
    chosen = variant_with_exits(Bundle.open(bundle).manifest, variant)
    gate = open_gate(
        bundle,
        engine=EngineOptions(variant=chosen),
        policy=None if policy is None else Policy.load(policy),
    )
    base = claim_terms(gate, thresholds)
    added = () if policy is None else gate.coverage_under(base.thresholds).missing
    texts = read_traffic(data)
    with counted(len(texts), f"read {gate.model.bundle} {chosen}") as advance:
        windows = read_windows(gate, texts, advance)
    terms, left_out = with_thresholds(base, added, windows)
    exits = _exits_of(gate, fit_exits(windows, terms), terms, texts_sha256=sha256(data))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, exits.dump())
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    return report(exits, left_out)


def variant_with_exits(manifest: Manifest, asked: str | None) -> str:
    """Return the variant whose exits are to be fitted.

    Raises:
        BundleError: it has no exits, or several variants have some and none was named.
    """
    having = {
        name
        for level in manifest.levels.values()
        for name, spec in level.variants.items()
        if spec.exits is not None
    }
    if asked is None and len(having) == 1:
        return having.pop()
    if asked is None or asked not in having:
        named = "several variants have" if asked is None and having else "no variant has"
        raise BundleError(
            f"{manifest.name}: {named if asked is None else f'variant {asked!r} has no'} early "
            f"exits; those with exits are {', '.join(sorted(having)) or 'none'}"
        )
    return asked


def claim_terms(gate: Gate, thresholds: Sequence[float]) -> ClaimTerms:
    """Return the claim that is to be proven: the bundle's, for other thresholds if some are given.

    Args:
        gate: of a variant with early exits.
        thresholds: in place of those of the bundle's claim; empty keeps these.
    """
    exits = gate.level1.exits
    assert exits is not None
    claim = exits.exits.claim
    return ClaimTerms(
        max_missed_share=claim.max_missed_share,
        confidence=claim.confidence,
        thresholds=tuple(sorted(set(thresholds) or claim.thresholds)),
    )


def with_thresholds(
    terms: ClaimTerms, added: Sequence[float], windows: ExitWindows
) -> tuple[ClaimTerms, dict[float, int]]:
    """Add a policy's thresholds to a claim, but those at which too few windows are flagged.

    Texts under a threshold that is left out are read whole, as those of a rule that few texts fall
    under, such as the high threshold of tools' definitions.

    Returns:
        The claim, and how many flagged windows are missing at each threshold that is left out.
    """
    every = replace(terms, thresholds=tuple(sorted({*terms.thresholds, *added})))
    missing = missing_flagged(windows.unsafe[windows.held_out], every)
    left_out = {each: n for each, n in missing.items() if each not in terms.thresholds}
    kept = tuple(each for each in every.thresholds if each not in left_out)
    return replace(every, thresholds=kept), left_out


def report(exits: Exits, left_out: Mapping[float, int]) -> str:
    """Return the claim of exits and its counts as text, and the thresholds that were left out."""
    whole = [
        f"left out: P(unsafe) {threshold:g}, at which {n} flagged windows are missing; texts under "
        "it are read whole"
        for threshold, n in left_out.items()
    ]
    rows = [
        f"| {each.threshold:g} | {each.n_flagged} | {each.n_missed} | {each.upper_bound:.2%} | "
        f"{each.share_left:.1%} |"
        for each in exits.claim.evidence
    ]
    return "\n".join(
        [
            f"{exits.level}: {exits.claim.in_words()}",
            "",
            "| P(unsafe) from | windows flagged | of these left | at most | of all left |",
            "|---|---|---|---|---|",
            *rows,
            *(["", *whole] if whole else []),
        ]
    )


def _exits_of(gate: Gate, fitted: FittedExits, terms: ClaimTerms, *, texts_sha256: str) -> Exits:
    """Return the exits that were fitted, for the graph of a gate.

    Raises:
        InferenceError: they are none that a gate would take.
    """
    own = gate.level1.exits
    assert own is not None
    exits = Exits(
        schema_version=own.exits.schema_version,
        level=own.exits.level,
        graph_sha256=own.exits.graph_sha256,
        weights_sha256=own.exits.weights_sha256,
        after_layers=own.exits.after_layers,
        probes=tuple(tuple(map(float, probe)) for probe in fitted.probes),
        limits=tuple(map(float, fitted.limits)),
        claim=Claim(
            max_missed_share=terms.max_missed_share,
            confidence=terms.confidence,
            thresholds=terms.thresholds,
            evidence=fitted.evidence,
            texts_sha256=texts_sha256,
            n_fitted=fitted.n_fitted,
            source="calibrate",
        ),
    )
    problems = list(exit_problems(exits))
    if problems:
        raise InferenceError(f"what was fitted is no probe file: {'; '.join(problems)}")
    return exits
