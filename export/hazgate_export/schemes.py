"""The ways to compute in int8, and what each means for the runtime. Loads no library."""

from typing import Literal

Int8Scheme = Literal["dynamic", "blockwise"]


def is_batch_invariant(scheme: Int8Scheme | None) -> bool:
    """Whether a text's scores are the same whatever it is batched or padded with.

    Dynamic quantisation takes one activation scale for the whole batch; fp32 (None) and blockwise
    quantisation compute each row by itself.
    """
    return scheme != "dynamic"
