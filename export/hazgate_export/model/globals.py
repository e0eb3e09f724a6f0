"""Globals that a PyTorch checkpoint names, listed without running anything.

A pickle is a program: it may import any name and call it. The listing reads the opcodes with
`pickletools`, in both of torch.save's forms (a zip file with one pickle, and the older file of
several pickles in a row), so that a file is refused by the name that it would import.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# What torch.save writes for a mapping of plain tensors and parameters.
_TENSORS = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (Float|Half|BFloat16|Double|Long|Int|Short|Char|Byte|Bool)Storage"
)
# The pickles of a mapping of tensors are far smaller.
_MOST_BYTES = 256 << 20
_ZIP_MAGIC = b"PK\x03\x04"
# The older form: magic number, protocol, machine, mapping, keys of the storages.
_LEGACY_PICKLES = 5
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STRINGS = frozenset(
    {
        "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE",
        "STRING", "BINSTRING", "SHORT_BINSTRING",
    }
)  # fmt: skip


class NotACheckpoint(Exception):  # noqa: N818 - reads as the finding that it names
    """A file that is no whole PyTorch checkpoint; says why."""


def foreign_globals(file: Path) -> list[str]:
    """List the globals of a checkpoint that plain tensors do not need, as "module.name".

    Raises:
        NotACheckpoint: the file is damaged, cut off, or no PyTorch checkpoint.
    """
    try:
        with file.open("rb") as stream:
            is_zip = stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
            stream.seek(0)
            found = set(_zip_globals(stream) if is_zip else _legacy_globals(stream))
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, LookupError, RuntimeError) as error:
        raise NotACheckpoint(str(error) or type(error).__name__) from error
    return sorted(name.replace(" ", ".") for name in found if not _TENSORS.fullmatch(name))


def _zip_globals(stream: BinaryIO) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise NotACheckpoint("a name stands in the archive twice")
        if any(name.endswith(".py") or "/code/" in name for name in names):
            raise NotACheckpoint("it contains code (TorchScript)")
        pickles = [name for name in names if name.endswith(".pkl")]
        if len(pickles) != 1 or not pickles[0].endswith("data.pkl"):
            raise NotACheckpoint(f"expected one data.pkl, found {len(pickles)} pickles")
        if archive.getinfo(pickles[0]).file_size > _MOST_BYTES:
            raise NotACheckpoint("its pickle is larger than any mapping of tensors needs")
        yield from _globals_of(io.BytesIO(archive.read(pickles[0])))


def _legacy_globals(stream: BinaryIO) -> Iterator[str]:
    for i in range(_LEGACY_PICKLES):
        start = stream.tell()
        if i == 0:
            opcodes = [(opcode.name, argument) for opcode, argument, _ in _genops(stream)]
            if ("LONG1", _LEGACY_MAGIC) not in opcodes:
                raise NotACheckpoint("it does not start as a PyTorch checkpoint does")
            stream.seek(start)
        yield from _globals_of(stream)
        if stream.tell() - start > _MOST_BYTES:
            raise NotACheckpoint("its pickle is larger than any mapping of tensors needs")


def _genops(stream: BinaryIO) -> Iterator[tuple[pickletools.OpcodeInfo, object, int | None]]:
    yield from pickletools.genops(stream)


def _globals_of(stream: BinaryIO) -> Iterator[str]:
    """Yield "module name" of every global of the pickle at the stream's position."""
    # The two latest strings, and those in the memo: what STACK_GLOBAL reads.
    memo: dict[object, object] = {}
    recent: list[object] = [None, None]
    for opcode, argument, _ in _genops(stream):
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            yield str(argument)
        elif name == "STACK_GLOBAL":
            module, attribute = recent
            if module is None or attribute is None:
                yield "a name that the pickle computes"
            else:
                yield f"{module} {attribute}"
        elif name in ("EXT1", "EXT2", "EXT4"):
            yield f"copyreg extension {argument}"
        if name in _STRINGS:
            recent = [recent[1], argument]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            recent = [recent[1], memo.get(argument)]
        elif name == "MEMOIZE":
            memo[len(memo)] = recent[1]
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = recent[1]
        elif name not in ("PROTO", "FRAME"):
            # Anything else between two strings and STACK_GLOBAL is no name in plain sight.
            recent = [None, None]
