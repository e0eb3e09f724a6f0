"""Sites: the activations of an encoder that are multiplied by weights, by name and in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# For each site, the matrices [in, out] that its activation meets.
Sites = Mapping[str, Sequence[Array]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSites:
    """Names of the four sites of one layer."""

    attention_in: str
    attention_out: str
    mlp_in: str
    mlp_out: str

    @classmethod
    def of(cls, layer: int) -> "LayerSites":
        """Name the sites of the layer with this number."""
        return cls(
            attention_in=f"layer.{layer}/attention/in",
            attention_out=f"layer.{layer}/attention/out",
            mlp_in=f"layer.{layer}/mlp/in",
            mlp_out=f"layer.{layer}/mlp/out",
        )
