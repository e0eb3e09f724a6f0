"""`hazgate corpus`, `plan`, `triton` and KServe's tensors, where a bundle has a token level."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hazgate import BundleError, Gate
from hazgate.cli.group import cli
from hazgate.serving.open_inference import output_tensors
from hazgate.serving.settings import ServeSettings
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.run import _judge
from hazgate_scale.fleet.opening import open_named
from tests.support.corpora import write_jsonl
from tests.support.tagger import LEVEL, write_tagged_panel, write_tagger


@pytest.fixture(scope="module")
def tagger(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tiny_bundle, tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def panel(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagged_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_what_needs_verdicts_refuses_a_token_level_alone(tagger: Path, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"text": "good"}])
    lengths = tmp_path / "lengths.jsonl"
    lengths.write_text("5\n9\n", encoding="utf-8")
    corpus = _run("corpus", tagger, "--input", file, "--output", tmp_path / "out")
    plan = _run(
        "plan", "--qps", 10, "--p99-ms", 100, "--lengths", lengths, "--measure", tagger,
        "--save-times", tmp_path / "times.json",
    )  # fmt: skip
    for done in (corpus, plan):
        assert done.exit_code == 3, done.output
        assert "entities of tagger is a token level" in " ".join(done.stderr.split())
    triton = _run("triton", tagger, tmp_path / "models")
    assert triton.exit_code == 3, triton.output
    assert "in Python by TokenClassifier.open" in " ".join(triton.stderr.split())
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "models").exists()


def test_a_predictor_refuses_a_token_level_alone(tagger: Path) -> None:
    with pytest.raises(BundleError, match="entities of tagger is a token level"):
        open_named(tagger, None, ServeSettings())


def test_a_corpus_has_no_columns_for_spans(panel: Path) -> None:
    with pytest.raises(BundleError, match="entities of tagged-panel finds spans, which have no"):
        _judge(str(panel), CorpusOptions(levels=("pii", LEVEL)), None, None)
    judge = _judge(str(panel), CorpusOptions(levels=("pii",)), None, None)
    assert list(judge.levels) == ["pii"]


def test_tensors_of_the_open_inference_protocol_stay_those_of_the_cascade(panel: Path) -> None:
    names = [output["name"] for output in output_tensors(Gate.open(panel))]
    assert LEVEL not in names
    assert "unsafe" in names
