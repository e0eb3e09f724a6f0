"""Token levels are measured by the spans that they find: equal ones, and overlapping ones."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.cli.group import cli
from hazgate.errors import InputError
from hazgate.judging.verdict import LabelledSpan
from hazgate_evaluation.span_figures import span_figures
from hazgate_evaluation.span_rows import MarkedSpan, SpanRow, read_spans
from tests.support.tagger import LEVEL, write_tagger

TYPES = ("NAME", "ADDRESS")


def _row(*marked: tuple[str, int, int], number: int = 1) -> SpanRow:
    spans = tuple(MarkedSpan(label=label, start=a, end=b) for label, a, b in marked)
    return SpanRow(number=number, text="x" * 50, spans=spans, context=None, group=str(number))


def _found(*spans: tuple[str, int, int]) -> list[LabelledSpan]:
    return [LabelledSpan(label=label, start=a, end=b, score=0.9) for label, a, b in spans]


def test_equal_spans_are_right_in_both_ways() -> None:
    figures = span_figures([_row(("NAME", 0, 4))], [_found(("NAME", 0, 4))], TYPES)
    for scores in (figures.all_types.exact, figures.all_types.overlapping):
        assert scores.f1 is not None
        assert scores.f1.value == 1
    assert figures.by_type["ADDRESS"].exact.f1 is None
    assert figures.macro_exact is not None
    assert figures.macro_exact.value == 1


def test_a_span_that_overlaps_is_right_in_one_way_only() -> None:
    # Two were found in one that was marked, and one more is wrong; one that was marked is missed.
    rows = [_row(("NAME", 0, 10), ("NAME", 20, 25))]
    figures = span_figures(
        rows, [_found(("NAME", 0, 4), ("NAME", 6, 12), ("NAME", 30, 31))], TYPES
    ).by_type["NAME"]
    assert (figures.n_marked, figures.n_found) == (2, 3)
    assert figures.exact.f1 is not None
    assert figures.exact.f1.value == 0
    overlapping = figures.overlapping
    assert overlapping.precision is not None
    assert overlapping.recall is not None
    assert overlapping.f1 is not None
    assert overlapping.precision.value == pytest.approx(2 / 3)
    assert overlapping.recall.value == pytest.approx(1 / 2)
    assert overlapping.f1.value == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))


def test_another_label_or_a_neighbour_is_wrong() -> None:
    figures = span_figures(
        [_row(("NAME", 0, 4))], [_found(("ADDRESS", 0, 4), ("NAME", 4, 6))], TYPES
    )
    assert figures.all_types.overlapping.f1 is not None
    assert figures.all_types.overlapping.f1.value == 0
    assert figures.macro_overlapping is not None
    assert figures.macro_overlapping.value == 0


def test_without_any_span_nothing_is_defined() -> None:
    figures = span_figures([_row()], [[]], TYPES)
    assert figures.all_types.exact.f1 is None
    assert figures.macro_exact is None


_SPANS = st.lists(
    st.tuples(st.sampled_from(TYPES), st.integers(0, 20), st.integers(1, 9)).map(
        lambda each: (each[0], each[1], each[1] + each[2])
    ),
    max_size=5,
    unique=True,
)


@settings(max_examples=30)
@given(st.lists(st.tuples(_SPANS, _SPANS), min_size=1, max_size=4))
def test_an_overlapping_score_is_never_below_the_exact_one(
    rows: list[tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]],
) -> None:
    figures = span_figures(
        [_row(*marked, number=i) for i, (marked, _) in enumerate(rows)],
        [_found(*found) for _, found in rows],
        TYPES,
    )
    for of_type in (figures.all_types, *figures.by_type.values()):
        exact, overlapping = of_type.exact, of_type.overlapping
        for name in ("precision", "recall", "f1"):
            low, high = getattr(exact, name), getattr(overlapping, name)
            assert (low is None) == (high is None)
            if low is not None:
                assert 0 <= low.value <= high.value <= 1
                assert 0 <= low.low <= low.high <= 1


def _file(folder: Path, *rows: object) -> Path:
    file = folder / "marked.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return file


def _span(start: object, end: object, label: object = "NAME", **more: object) -> dict[str, object]:
    return {"start": start, "end": end, "label": label, **more}


def test_characters_are_code_points(tmp_path: Path) -> None:
    text = "\U0001f469\u200d\U0001f4bb e\u0301\r\nAda"
    start = text.index("Ada")
    (row,) = read_spans(_file(tmp_path, {"text": text, "spans": [_span(start, start + 3)]}),
                        TYPES).rows  # fmt: skip
    (span,) = row.spans
    assert row.text[span.start : span.end] == "Ada"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "ab"}, "spans must be a list"),
        ({"text": "ab", "spans": [_span(0, 3)]}, "0 <= start < end <= 2 characters, got 0 to 3"),
        ({"text": "ab", "spans": [_span(1, 1)]}, "got 1 to 1"),
        ({"text": "ab", "spans": [_span(-1, 1)]}, "got -1 to 1"),
        ({"text": "ab", "spans": [_span(0, 1.0)]}, "start and end must be integers"),
        ({"text": "ab", "spans": [_span(0, True)]}, "start and end must be integers"),
        ({"text": "ab", "spans": [_span(0, 1, "PHONE")]}, "label is not a type"),
        ({"text": "ab", "spans": [_span(0, 1, note="x")]}, "start, end, label and nothing else"),
        ({"text": "ab", "spans": [_span(0, 1), _span(0, 1)]}, "spans[1]: is there twice"),
        ({"spans": []}, "text"),
    ],
)
def test_a_wrong_line_is_named_without_its_text(
    tmp_path: Path, row: dict[str, object], expected: str
) -> None:
    good = {"text": "secret", "spans": []}
    with pytest.raises(InputError) as refused:
        read_spans(_file(tmp_path, good, row), TYPES)
    assert "line 2" in str(refused.value)
    assert expected in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tiny_bundle, tmp_path_factory.mktemp("tagger"))


def test_the_command_measures_a_token_level(bundle: Path, tmp_path: Path) -> None:
    data = _file(
        tmp_path,
        {"text": "good morning", "spans": [_span(0, 12)]},
        {"text": "or world", "spans": [_span(3, 8, "ADDRESS")]},
        {"text": "or good", "spans": []},
    )
    done = CliRunner().invoke(
        cli,
        ["evaluate", str(bundle), "--level", LEVEL, "--data", str(data), "--report", str(tmp_path)],
    )
    assert done.exit_code == 0, done.output
    assert "| int8 | all | 2 | 3 | 0.667 | 1.000 | 0.800" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    (system,) = report["systems"]
    assert system["figures"]["by_type"]["NAME"]["exact"]["precision"]["value"] == 0.5
    assert report["n_rows"] == 3


def test_options_of_verdicts_are_refused_for_a_token_level(bundle: Path, tmp_path: Path) -> None:
    data = _file(tmp_path, {"text": "good", "spans": []})
    common = ["evaluate", str(bundle), "--data", str(data), "--report", str(tmp_path)]
    done = CliRunner().invoke(cli, [*common, "--level", LEVEL, "--threshold", "0.4"])
    assert done.exit_code == 2
    assert "--threshold: not with --level" in done.stderr
    done = CliRunner().invoke(cli, common)
    assert done.exit_code != 0
    assert "entities of tagger is a token level" in " ".join(done.stderr.split())


def test_calibrate_refuses_a_token_level_alone(bundle: Path, tmp_path: Path) -> None:
    data = _file(tmp_path, {"text": "good", "spans": []})
    done = CliRunner().invoke(
        cli,
        ["calibrate", str(bundle), "--data", str(data), "--out", str(tmp_path / "p.toml"),
         "--target-fpr", "0.05"],
    )  # fmt: skip
    assert done.exit_code != 0
    assert "entities of tagger is a token level" in " ".join(done.stderr.split())
