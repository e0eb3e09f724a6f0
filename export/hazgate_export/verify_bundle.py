"""The gate again, on a finished bundle, with stored or freshly computed references."""

import json

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.bundle import Bundle
from hazgate.engine.processor import n_processors
from hazgate.engine.session import OrtSession
from hazgate.errors import BundleError
from hazgate.text.tokenization import Tokenizer
from hazgate_export.build import LocalSources, reference_of_level
from hazgate_export.bundle.assemble import PARITY_FILE
from hazgate_export.graphs.half import runnable_here
from hazgate_export.parity import Parity
from hazgate_export.proof.texts import Case, load_proof_texts, make_cases, proof_texts_sha256
from hazgate_export.proof.verify import boundary_of, measure
from hazgate_export.recipe import LoadedRecipe, ParityLimits


def verify_bundle(
    bundle: Bundle, loaded: LoadedRecipe | None, local: LocalSources
) -> tuple[Parity, ...]:
    """Measures every variant of `bundle` as the build did.

    Args:
        bundle: an open bundle.
        loaded: its recipe, to compute the reference's logits anew from base and adapters; None
            takes those that the bundle brings along.
        local: directories that stand in for the recipe's sources.

    Raises:
        BundleError: the bundle was made with another corpus, so its stored logits do not fit.
    """
    document = json.loads(bundle.file(PARITY_FILE).read_text(encoding="utf-8"))
    if document["proof_texts_sha256"] != proof_texts_sha256():
        raise BundleError(
            f"{bundle.manifest.name} was proven on another corpus than this hazgate-export's; "
            "verify it with the hazgate-export that built it, or build it again"
        )
    gates = {name: ParityLimits(**gate) for name, gate in document["gates"].items()}
    parities: list[Parity] = []
    for name, level in bundle.manifest.levels.items():
        tokenizer = Tokenizer(bundle.file(level.tokenizer.file), level.tokenizer)
        cases = make_cases(
            load_proof_texts(), tokenizer, document["lengths"], document["vocab_size"]
        )
        reference = (
            np.array(document["reference_logits"][name], dtype=np.float32)
            if loaded is None
            else reference_of_level(loaded, name, local, cases)
        )
        parities.extend(
            _measure(bundle, name, variant, cases, reference, gate)
            for variant, gate in gates.items()
        )
    return tuple(parities)


def _measure(
    bundle: Bundle,
    name: str,
    variant: str,
    cases: tuple[Case, ...],
    reference: NDArray[np.float32],
    gate: ParityLimits,
) -> Parity:
    level = bundle.manifest.levels[name]
    spec = level.variants[variant]
    with runnable_here(bundle.file(spec.graph), spec.precision) as graph:
        session = OrtSession(
            graph,
            kind=spec.kind,
            n_labels=len(level.labels),
            threads=n_processors(),
        )
        return measure(
            session,
            cases,
            reference,
            level=name,
            variant=variant,
            batching=spec.batching,
            tokenizer=level.tokenizer,
            boundary=boundary_of(bundle.manifest, name),
            gate=gate,
        )
