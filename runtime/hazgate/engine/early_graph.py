"""A graph with early exits: its further inputs, and the last column of its logits.

The column says of each row the *exit*: k if it left after layer k; 0 if no probe would have let it
go, so that it was read whole; -k if it was read whole because it might not leave, and would have
left after layer k. A row read whole has the logits of the graph without exits, to the bit. Of a row
that left, the logit of the positive label is the log-odds of the exit's probe, the other one's 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.exits import Exits
from hazgate.errors import BundleError, InferenceError

# The optional output of the states that probes read. Nothing asks for it in service.
POOLED = "pooled"
INPUT_TYPES: Mapping[str, str] = {
    "may_leave": "tensor(bool)",
    "probes": "tensor(float)",
    "limits": "tensor(float)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyGraph:
    """The exits of an open graph: its name, the layers that have one, probes and limits.

    `probes` has the shape [n_exits, hidden + 1], `limits` [n_exits].
    """

    name: str
    after_layers: tuple[int, ...]
    probes: NDArray[np.float32]
    limits: NDArray[np.float32]

    @classmethod
    def of(cls, name: str, exits: Exits) -> "EarlyGraph":
        """Return the graph of that name with the exits of a probe file."""
        return cls(
            name=name,
            after_layers=exits.after_layers,
            probes=exits.probe_array,
            limits=exits.limit_array,
        )

    def feeds(
        self, n_rows: int, may_leave: NDArray[np.bool_] | None
    ) -> dict[str, NDArray[np.bool_] | NDArray[np.float32]]:
        """Return the graph's further inputs.

        Args:
            n_rows: of the batch.
            may_leave: rows that may leave early, shape [n_rows]; None for no row.
        """
        leave = np.zeros(n_rows, dtype=np.bool_) if may_leave is None else may_leave
        return {"may_leave": leave, "probes": self.probes, "limits": self.limits}

    def check_inputs(self, shapes: Mapping[str, Sequence[Any]]) -> None:
        """Refuse probes of another size than the graph's.

        Args:
            shapes: of the graph's inputs by name; a free dimension is a name or None.

        Raises:
            BundleError: they do not fit; says both sizes.
        """
        for name, array in (("probes", self.probes), ("limits", self.limits)):
            axes = shapes[name]
            fits = len(axes) == array.ndim and all(
                not isinstance(axis, int) or axis == size
                for axis, size in zip(axes, array.shape, strict=True)
            )
            if not fits:
                raise BundleError(
                    f"{self.name}: expected {name} of shape {list(axes)}, and the probe file has "
                    f"{list(array.shape)}: it is for another graph"
                )

    def check_column(self, column: NDArray[np.float32], may_leave: NDArray[np.bool_]) -> None:
        """Refuse exits that cannot be.

        Args:
            column: the last one of the logits, shape [batch].
            may_leave: rows that might leave, shape [batch].

        Raises:
            InferenceError: a row left after a layer without an exit, or although it might not.
        """
        wrong = ~np.isin(np.abs(column), (0, *self.after_layers))
        wrong |= np.where(may_leave, column < 0, column > 0)
        if wrong.any():
            raise InferenceError(
                f"{self.name}: {int(wrong.sum())} of {len(column)} rows have exits that cannot be; "
                f"there are exits after the layers {', '.join(map(str, self.after_layers))}"
            )
