"""The bodies of the reading benchmark are of the sizes asked for, and time grows with size."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from benchmarks.load.reading import agent, chat, main
from hazgate.serving.bodies.read import read_body


@pytest.mark.parametrize("make", [chat, agent])
def test_bodies_have_about_the_size_and_more_passages_the_larger(
    make: Callable[[int], bytes],
) -> None:
    small, large = make(20_000), make(80_000)
    assert 80_000 <= len(large) < 100_000
    n_small, n_large = (
        len(read_body({"content-type": "application/json"}, body, "request").passages)
        for body in (small, large)
    )
    assert n_large > 2 * n_small - 50 > 0


def test_the_table_has_a_line_for_each_body_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load.reading._SIZES_BYTES", (5_000, 10_000))
    result = CliRunner().invoke(main, ["--repeats", "1"])
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    assert len(lines) == 4
    assert {len(line.split("\t")) for line in (head, *lines)} == {7}
