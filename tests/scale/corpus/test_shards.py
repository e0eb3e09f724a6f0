"""A plan covers every byte and row group of every file once, whatever their sizes."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate_scale.corpus.lines import read_lines
from hazgate_scale.corpus.shards import Divisible, cut_shards, default_shard_bytes

SIZES = st.integers(0, 5000)
UNITS = st.none() | st.lists(SIZES, max_size=12).map(tuple)
FILES = st.lists(st.builds(Divisible, size_bytes=SIZES, units=UNITS), max_size=6)


@given(files=FILES, shard_bytes=st.integers(1, 6000))
@settings(deadline=None)
def test_every_unit_of_every_file_is_in_one_shard_in_order(
    files: list[Divisible], shard_bytes: int
) -> None:
    shards = cut_shards(files, shard_bytes)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    covered = [(shard.file, unit) for shard in shards for unit in range(shard.start, shard.end)]
    assert covered == [
        (i, unit)
        for i, file in enumerate(files)
        for unit in range(file.size_bytes if file.units is None else len(file.units))
    ]
    assert all(shard.start < shard.end for shard in shards)


@given(files=FILES, shard_bytes=st.integers(1, 6000))
def test_a_shard_is_no_larger_than_asked_unless_it_is_one_unit(
    files: list[Divisible], shard_bytes: int
) -> None:
    for shard in cut_shards(files, shard_bytes):
        units = files[shard.file].units
        size = shard.end - shard.start if units is None else sum(units[shard.start : shard.end])
        n_filled = 0 if units is None else sum(map(bool, units[shard.start : shard.end]))
        assert size <= shard_bytes or n_filled == 1


def test_small_inputs_give_output_soon_and_large_ones_few_parts() -> None:
    assert default_shard_bytes(0) == default_shard_bytes(40 << 20) == 256 << 10
    assert default_shard_bytes(1 << 40) == 64 << 20
    assert 1 << 20 < default_shard_bytes(1 << 30) < 64 << 20


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")), max_size=20),
    is_ended=st.booleans(),
    shard_bytes=st.integers(1, 40),
    max_line_bytes=st.integers(0, 12),
)
def test_shards_of_lines_give_each_line_once_wherever_they_are_cut(
    lines: list[bytes], is_ended: bool, shard_bytes: int, max_line_bytes: int
) -> None:
    content = b"\n".join(lines) + (b"\n" if is_ended and lines else b"")
    # What a file of lines is, said the slow way.
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    found = []
    for shard in cut_shards([Divisible(size_bytes=len(content))], shard_bytes):
        stream = io.BytesIO(content)
        stream.seek(max(0, shard.start - 1))
        found += list(read_lines(stream, shard.start, shard.end, max_line_bytes))
    stripped = [line.removesuffix(b"\r") for line in expected]
    assert [line.data for line in found] == [
        line if len(line) <= max_line_bytes else None for line in stripped
    ]
    assert sum(line.size_bytes for line in found) == len(content)
    positions = [line.position for line in found]
    assert positions == sorted(set(positions))
    for line, text in zip(found, expected, strict=True):
        assert content[line.position :].startswith(text)


def test_a_line_of_any_size_is_passed_over_without_being_held() -> None:
    class Counting(io.BytesIO):
        largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            Counting.largest = max(Counting.largest, len(line))
            return line

    stream = Counting(b"a\n" + b"x" * (5 << 20) + b"\nb\n")
    first, large, last = read_lines(stream, 0, None, 100)
    assert (first.data, large.data, last.data) == (b"a", None, b"b")
    assert large.size_bytes == (5 << 20) + 1
    assert Counting.largest <= 1 << 20
