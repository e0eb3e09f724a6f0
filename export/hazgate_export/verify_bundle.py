"""Parity of a finished bundle, measured again with stored or freshly computed references."""

import json

import numpy as np

from hazgate.bundle.bundle import Bundle
from hazgate.engine.exit_files import open_exits
from hazgate.engine.options import ExitOptions
from hazgate.errors import BundleError
from hazgate.text.tokenization import Tokenizer
from hazgate_export.bundle.assemble import PARITY_FILE
from hazgate_export.model.sources import LocalSources
from hazgate_export.parity import Parity
from hazgate_export.proof.reference import reference_of_levels
from hazgate_export.proof.subject import subject_of
from hazgate_export.proof.texts import load_proof_texts, make_cases, proof_texts_sha256
from hazgate_export.proof.verify import TestedGraph, measure_graph
from hazgate_export.recipe import LoadedRecipe, ParityLimits


def verify_bundle(
    bundle: Bundle, loaded: LoadedRecipe | None, local: LocalSources
) -> tuple[Parity, ...]:
    """Measure every variant of `bundle` as the build did.

    Args:
        bundle: an open bundle.
        loaded: its recipe, to compute the reference's logits from base and adapters; None takes
            the logits stored in the bundle.
        local: directories to use instead of the recipe's sources.

    Raises:
        BundleError: the bundle was made with other proof texts, so its stored logits do not fit.
    """
    document = json.loads(bundle.file(PARITY_FILE).read_text(encoding="utf-8"))
    if document["proof_texts_sha256"] != proof_texts_sha256():
        raise BundleError(
            f"{bundle.manifest.name} was proven on other proof texts than this hazgate-export's; "
            "verify it with the hazgate-export that built it, or build it again"
        )
    limits = {name: ParityLimits(**values) for name, values in document["gates"].items()}
    manifest = bundle.manifest
    measured: dict[tuple[str, str], Parity] = {}
    for body in manifest.bodies():
        # Levels on one body have one tokenizer and the same graphs.
        first = manifest.levels[body[0]]
        tokenizer = Tokenizer(bundle.file(first.tokenizer.file), first.tokenizer)
        cases = make_cases(
            load_proof_texts(), tokenizer, document["lengths"], document["vocab_size"]
        )
        stored = document["reference_logits"]
        references = (
            {name: np.array(stored[name], dtype=np.float32) for name in body}
            if loaded is None
            else reference_of_levels(loaded, body, local, cases)
        )
        subject = subject_of(manifest, cases, first.tokenizer, first.n_logits, references)
        for variant, kept in limits.items():
            for parity in measure_graph(subject, _tested_graph(bundle, body[0], variant, kept)):
                measured[parity.level, variant] = parity
    return tuple(measured[level, variant] for level in manifest.levels for variant in limits)


def _tested_graph(bundle: Bundle, level: str, variant: str, limits: ParityLimits) -> TestedGraph:
    spec = bundle.manifest.levels[level].variants[variant]
    opened = open_exits(bundle, level, variant, ExitOptions())
    return TestedGraph(
        variant=variant,
        file=bundle.file(spec.graph),
        kind=spec.kind,
        precision=spec.precision,
        batching=spec.batching,
        limits=limits,
        exits=None if opened is None else opened.exits,
    )
