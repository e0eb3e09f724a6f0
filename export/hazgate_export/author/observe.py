"""Observation of activations: at every site of a model, over texts that are run one by one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.session import load_onnxruntime
from hazgate_export.graphs.portable import OUTPUT

# Rows kept per site; the errors of quantised products are estimated on them.
_MAX_ROWS = 768
_SEED = 20262


@dataclass(frozen=True, slots=True)
class SiteActivations:
    """Activations that were observed at one site.

    `largest` is the greatest magnitude of each channel over all tokens, [width]; `rows` is a
    sample of tokens, [n, width].
    """

    largest: NDArray[np.float32]
    rows: NDArray[np.float32]

    def divided(self, factors: NDArray[np.float32]) -> "SiteActivations":
        """Divide each channel by its factor."""
        return SiteActivations(largest=self.largest / factors, rows=self.rows / factors)


# By the name of the site.
Observations = Mapping[str, SiteActivations]


def divide_sites(
    observed: Observations, factors: Mapping[str, NDArray[np.float32]]
) -> Observations:
    """Divide the activations of the sites in `factors`, channel by channel."""
    divided = {site: observed[site].divided(by) for site, by in factors.items()}
    return {**observed, **divided}


def observe(graph: Path, inputs: Iterable[NDArray[np.int64]], *, threads: int) -> Observations:
    """Run a graph whose sites are outputs, and observe them.

    Args:
        graph: written with `expose`.
        inputs: ids of each text, [1, sequence], without padding.
        threads: intra-op threads.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if output.name != OUTPUT]
    random = np.random.default_rng(_SEED)
    largest: dict[str, NDArray[np.float32]] = {}
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    runs = list(inputs)
    # Equal shares of every text, so that long ones do not crowd out short ones.
    share = max(1, _MAX_ROWS // len(runs))
    for input_ids in runs:
        feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        for name, (rows,) in zip(names, session.run(names, feeds), strict=True):
            top = np.abs(rows).max(axis=0)
            largest[name] = np.maximum(largest[name], top) if name in largest else top
            picked = random.permutation(len(rows))[:share]
            samples[name].append(rows[picked])
    return {
        name: SiteActivations(largest=largest[name], rows=np.concatenate(samples[name]))
        for name in names
    }
