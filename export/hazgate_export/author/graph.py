"""A graph under construction: nodes, constants and branches, named as profiles show them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

# The operators of ONNX Runtime that are in no ONNX opset ("contrib operators").
MICROSOFT = "com.microsoft"
# The domain of hazgate-kernels.
HAZGATE = "hazgate"

Attribute = int | float | str | Sequence[int] | Sequence[float] | ir.Graph | ir.TensorProtocol


class GraphWriter:
    """Writes nodes one after another; branches of an `If` are written by writers of their own.

    Constants live in the outermost graph, each array once, so both branches and all layers share
    them.
    """

    def __init__(self, parent: "GraphWriter | None" = None) -> None:
        self._tape = Tape()
        self._root: GraphWriter = parent._root if parent else self
        self._scope: list[str] = list(parent._scope) if parent else []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._names: dict[str, int] = {}
        self._domains: set[str] = {MICROSOFT}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of what is written inside begin with `name`."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    def op(
        self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Attribute
    ) -> ir.Value:
        """One node with one output; `None` leaves an optional input out."""
        return self.ops(op_type, *inputs, n_outputs=1, domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        n_outputs: int,
        domain: str = "",
        **attributes: Attribute,
    ) -> Sequence[ir.Value]:
        """One node with `n_outputs` outputs."""
        if domain:
            self._root._domains.add(domain)
        name = self._unique(op_type)
        outputs = [
            ir.Value(name=name if i == 0 else f"{name}.{i}", index=i) for i in range(n_outputs)
        ]
        return self._tape.op_multi_out(
            op_type, inputs, attributes, outputs=outputs, domain=domain, name=name
        )

    def constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        """Add an initializer; small equal ones become one."""
        root = self._root
        contiguous = np.asarray(array, order="C")
        key = (contiguous.dtype.str, contiguous.shape, contiguous.tobytes())
        if contiguous.nbytes > _SMALL_BYTES:
            return root._initializer(contiguous, self._unique(name))
        if key not in root._constants:
            root._constants[key] = root._initializer(contiguous, root._unique(name))
        return root._constants[key]

    def ints(self, *values: int) -> ir.Value:
        """Add a constant int64 vector: shapes, axes and pads."""
        return self.constant(np.array(values, dtype=np.int64), "ints")

    def choose(
        self,
        condition: ir.Value,
        then: Callable[["GraphWriter"], ir.Value],
        otherwise: Callable[["GraphWriter"], ir.Value],
    ) -> ir.Value:
        """Take the result of `then` if `condition`, a bool scalar, holds; else of `otherwise`."""
        name = self._unique("If")
        branches = {}
        for key, write in (("then_branch", then), ("else_branch", otherwise)):
            writer = GraphWriter(parent=self)
            writer._scope = [name.replace("/", "."), key.removesuffix("_branch")]
            output = write(writer)
            branches[key] = ir.Graph(
                inputs=(), outputs=(output,), nodes=writer._tape.nodes, name=f"{name}.{key}"
            )
        return self._tape.op(
            "If", (condition,), branches, name=name, output=ir.Value(name=name, index=0)
        )

    def model(
        self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], opset: int
    ) -> ir.Model:
        """Finish the model."""
        graph = ir.Graph(
            inputs=inputs,
            outputs=outputs,
            nodes=self._tape.nodes,
            initializers=self._tape.initializers,
            opset_imports={"": opset} | dict.fromkeys(sorted(self._domains), 1),
            name="hazgate",
        )
        return ir.Model(graph, ir_version=_IR_VERSION, producer_name="hazgate-export")

    def _initializer(self, array: NDArray[np.generic], name: str) -> ir.Value:
        return self._tape.initializer(ir.tensor(array, name=name), name=name)

    def _unique(self, name: str) -> str:
        full = "/".join((*self._scope, name))
        names = self._root._names
        count = names[full] = names.get(full, 0) + 1
        return full if count == 1 else f"{full}_{count}"


# Larger ones differ anyway, and are not worth comparing.
_SMALL_BYTES = 4096
# What ONNX Runtime 1.20 and later read.
_IR_VERSION = 10


def save_graph(model: ir.Model, file: Path) -> None:
    """Write `model` with its large constants in `file`.data next to it."""
    file.with_name(file.name + ".data").unlink(missing_ok=True)
    ir.save(model, file, external_data=file.name + ".data", size_threshold_bytes=1024)
