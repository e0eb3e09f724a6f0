"""Problems are listed one a line, up to a number that a person can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.documents.problems import MAX_PROBLEMS, list_problems, refuse_newer, wrong_version
from hazgate.errors import PolicyError


@given(st.lists(st.sampled_from(["a: missing", "b: unknown field"]), max_size=50))
def test_each_problem_is_shown_or_counted(problems: list[str]) -> None:
    lines = list_problems(problems).split("\n")[1:]
    shown, rest = problems[:MAX_PROBLEMS], len(problems) - MAX_PROBLEMS
    assert lines[: len(shown)] == [f"  - {problem}" for problem in shown]
    assert lines[len(shown) :] == ([f"  - and {rest} more"] if rest > 0 else [])


def test_a_document_of_a_newer_schema_is_refused_with_the_cure() -> None:
    def read(data: object) -> None:
        refuse_newer(data, 1, source="p.toml", cure="write it for this one", error=PolicyError)

    passing: list[object] = [{"schema_version": 1}, {"schema_version": "2"}, {}, [], None]
    for data in passing:
        read(data)
    with pytest.raises(PolicyError, match=r"^p\.toml has schema version 2; .* reads up to 1\. .*"):
        read({"schema_version": 2})


def test_another_schema_version_is_a_problem() -> None:
    assert list(wrong_version(1, 1)) == []
    assert list(wrong_version(0, 1)) == ["$.schema_version: expected 1, got 0"]
