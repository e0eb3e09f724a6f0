"""Several levels on one body: one graph a variant, and each level is proven on its own columns."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import numpy_helper
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from hazgate import Bundle
from hazgate.bundle.manifest import ColumnsSpec
from hazgate.engine.kernels import instruction_set
from hazgate.engine.session import OrtSession
from hazgate.text.tokenization import Tokenizer
from hazgate_export.__main__ import cli
from hazgate_export.build import Built, build
from hazgate_export.bundle.report import parity_table
from hazgate_export.errors import ParityMissed, RecipeError, SourceError
from hazgate_export.model.head import count_outputs
from hazgate_export.model.sources import LevelSources, LocalSources, fetch_levels
from hazgate_export.preflight.run import preflight_path
from hazgate_export.preflight.table import find_target
from hazgate_export.proof import verify
from hazgate_export.proof.reference import check_merged
from hazgate_export.proof.subject import Boundary, Head, Subject
from hazgate_export.proof.texts import Case, load_proof_texts
from hazgate_export.recipe import Recipe
from hazgate_export.recipe_file import load_recipe
from hazgate_export.verify_bundle import verify_bundle
from tests.support.adapters import edit_json, fetched
from tests.support.damage import edit_manifest, replace_file
from tests.support.families import families
from tests.support.panels import (
    COLUMNS,
    LABELS,
    OUTPUTS,
    Panel,
    only_variant,
    write_checkpoint_panel,
    write_panel,
)
from tests.support.subjects import TOKENIZER

EXACT = ("fp32", "cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return write_panel(tmp_path_factory.mktemp("panel-sources"))


@pytest.fixture(scope="module")
def built(written: Panel, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The whole bundle. Not to be changed."""
    target = tmp_path_factory.mktemp("panel") / "bundle"
    return build(load_recipe(written.recipe), target, LocalSources())


@pytest.fixture
def panel(written: Panel, tmp_path: Path) -> Panel:
    """The sources for one test to change, with a recipe of one quick variant."""
    return _quick(written, tmp_path / "sources")


@pytest.fixture(scope="module")
def quick(written: Panel, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The bundle of one quick variant, proven on all texts. Not to be changed."""
    return _build(_quick(written, tmp_path_factory.mktemp("quick") / "sources"))


def _quick(written: Panel, folder: Path) -> Panel:
    shutil.copytree(written.recipe.parent, folder)
    recipe = folder / "panel.toml"
    recipe.write_text(only_variant(recipe.read_text(encoding="utf-8"), "cpu"), encoding="utf-8")
    return Panel(base=folder / "base", weights=folder / "panel", recipe=recipe)


def _edit(panel: Panel, *changes: tuple[str, str]) -> None:
    text = panel.recipe.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    panel.recipe.write_text(text, encoding="utf-8")


def _build(panel: Panel, **local: object) -> Built:
    target = panel.recipe.parent / "bundle"
    return build(load_recipe(panel.recipe), target, LocalSources(**local))  # type: ignore[arg-type]


def _rows(bundle: Bundle) -> list[tuple[int, ...]]:
    spec = bundle.manifest.levels["level1"].tokenizer
    tokens = Tokenizer(bundle.file(spec.file), spec).encode([t.text for t in load_proof_texts()])
    return [text.windows[0].input_ids for text in tokens]


def _peft(panel: Panel, rows: list[tuple[int, ...]]) -> NDArray[np.float32]:
    """Compute the logits of every output with PEFT alone, one text at a time."""
    base = AutoModelForSequenceClassification.from_pretrained(
        panel.base, num_labels=len(OUTPUTS), attn_implementation="eager"
    )
    model = PeftModel.from_pretrained(base, str(panel.weights)).eval()
    with torch.inference_mode():
        return np.concatenate([model(input_ids=torch.tensor([row])).logits.numpy() for row in rows])


def _graph_logits(bundle: Bundle, variant: str, rows: list[tuple[int, ...]]) -> NDArray[np.float32]:
    level = bundle.manifest.levels["level1"]
    spec = level.variants[variant]
    session = OrtSession(
        bundle.file(spec.graph), kind=spec.kind, n_labels=level.n_logits, threads=1
    )
    inputs = [np.array([row], dtype=np.int64) for row in rows]
    return np.concatenate([session.run(ids, np.ones_like(ids)) for ids in inputs])


# What a build gives


def test_a_bundle_says_which_columns_each_level_has_and_that_they_share_a_body(
    built: Built,
) -> None:
    manifest = built.bundle.manifest
    assert manifest.schema_version == 2
    assert manifest.bodies() == (tuple(LABELS),)
    for name, level in manifest.levels.items():
        assert level.labels == LABELS[name]
        assert level.columns == ColumnsSpec(first=COLUMNS[name][0], width=len(OUTPUTS))
    assert manifest.cascade is not None
    assert manifest.levels["pii"].thresholds == {"email": 0.7}
    assert manifest.levels["injection"].positive is not None
    digests = {manifest.provenance[f"{name}.architecture_sha256"] for name in LABELS}
    assert len(digests) == 1


def test_each_variant_is_one_graph_and_the_encoder_stands_once(
    built: Built, written: Panel
) -> None:
    root, manifest = built.bundle.root, built.bundle.manifest
    variants = manifest.levels["level1"].variants
    assert ("cpu-fused" in variants) == (instruction_set() is not None)
    assert {file.name for file in root.glob("*.onnx")} == {
        f"level1-{variant}.onnx" for variant in variants
    }
    weights = (written.base / "model.safetensors").stat().st_size
    for variant in EXACT:
        graph = onnx.load(root / f"level1-{variant}.onnx")
        sizes = [numpy_helper.to_array(tensor).nbytes for tensor in graph.graph.initializer]
        # The base has no head; the graph has one, and tables of a few numbers.
        assert sum(sizes) < 1.3 * weights


def test_every_level_equals_peft_on_its_own_columns(built: Built, written: Panel) -> None:
    rows = _rows(built.bundle)
    wanted = _peft(written, rows)
    stored = json.loads((built.bundle.root / "parity.json").read_text(encoding="utf-8"))
    for variant in EXACT:
        logits = _graph_logits(built.bundle, variant, rows)
        for name, (first, end) in COLUMNS.items():
            own = built.bundle.manifest.levels[name].own_columns
            assert np.abs(logits[:, own] - wanted[:, first:end]).max() <= 1e-4
    for name, (first, end) in COLUMNS.items():
        reference = np.array(stored["reference_logits"][name])[: len(rows)]
        np.testing.assert_allclose(reference, wanted[:, first:end], atol=1e-5)
    # No column is the copy of another, so that a wrong slice could pass.
    assert (
        np.abs(wanted[:, :, None] - wanted[:, None, :])
        .max(axis=0)[np.triu_indices(len(OUTPUTS), 1)]
        .min()
        > 1e-2
    )


def test_parity_and_canaries_are_those_of_each_level(built: Built) -> None:
    variants = tuple(built.bundle.manifest.levels["level1"].variants)
    assert [(p.level, p.variant) for p in built.parities] == [
        (level, variant) for level in LABELS for variant in variants
    ]
    assert all(parity.passed for parity in built.parities)
    specs = built.bundle.manifest.levels
    for parity in built.parities:
        spec = specs[parity.level].variants[parity.variant].parity
        assert spec.max_abs_logit_diff == parity.max_abs_logit_diff
    int8 = {p.max_abs_logit_diff for p in built.parities if p.variant == "cpu-int8"}
    assert len(int8) == len(LABELS)
    canaries = json.loads((built.bundle.root / "canaries.json").read_text(encoding="utf-8"))
    widths = {name: {len(c["logits"]) for c in rows} for name, rows in canaries["levels"].items()}
    assert widths == {name: {len(labels)} for name, labels in LABELS.items()}


def test_a_body_is_measured_in_as_many_runs_as_one_level(
    written: Panel, panel: Panel, monkeypatch: pytest.MonkeyPatch, few_proof_texts: None
) -> None:
    ran: Counter[str] = Counter()

    class Counting(OrtSession):
        def run(
            self,
            input_ids: NDArray[np.int64],
            attention_mask: NDArray[np.int64],
            may_leave: NDArray[np.bool_] | None = None,
        ) -> NDArray[np.float32]:
            ran["runs"] += 1
            return super().run(input_ids, attention_mask, may_leave)

    monkeypatch.setattr(verify, "OrtSession", Counting)
    _build(panel)
    of_body = ran.pop("runs")
    text = panel.recipe.read_text(encoding="utf-8")
    start, end = text.index("[levels.level1]"), text.index("[variants.")
    tables = text[start:end]
    lone = tables[: tables.index("[levels.level2]")]
    panel.recipe.write_text(text.replace(tables, lone), encoding="utf-8")
    alone = _build(panel)
    assert ran["runs"] == of_body
    # Columns that no level owns are computed and not read.
    level = alone.bundle.manifest.levels["level1"]
    assert level.columns == ColumnsSpec(first=0, width=len(OUTPUTS))
    assert alone.bundle.manifest.bodies() == (("level1",),)


def test_a_checkpoint_with_a_wide_head_is_built_and_gives_its_levels_their_labels(
    written: Panel, tmp_path: Path, few_proof_texts: None
) -> None:
    whole = write_checkpoint_panel(written, tmp_path)
    text = only_variant(whole.recipe.read_text(encoding="utf-8"), "cpu")
    for labels in LABELS.values():
        text = text.replace(f"labels = {list(labels)}\n", "")
    whole.recipe.write_text(text, encoding="utf-8")
    built = _build(whole)
    levels = built.bundle.manifest.levels
    assert {name: level.labels for name, level in levels.items()} == LABELS
    assert {level.adapter for level in levels.values()} == {None}
    assert all(parity.passed for parity in built.parities)
    model = AutoModelForSequenceClassification.from_pretrained(whole.weights).eval()
    rows = _rows(built.bundle)[:20]
    with torch.inference_mode():
        wanted = np.concatenate([model(torch.tensor([row])).logits.numpy() for row in rows])
    assert np.abs(_graph_logits(built.bundle, "cpu", rows) - wanted).max() <= 1e-4
    _edit(whole, ("columns = [5, 7]", 'columns = [5, 7]\nlabels = ["injection", "none"]'))
    with pytest.raises(SourceError, match="injection: the labels differ in names or order"):
        _build(whole)


def test_the_pins_that_a_build_prints_are_a_recipe_of_the_same_body(
    quick: Built, panel: Panel, tmp_path: Path
) -> None:
    text = panel.recipe.read_text(encoding="utf-8")
    for source in ('source = { directory = "base" }\n', 'adapter = { directory = "panel" }\n'):
        text = text.replace(source, "")
    panel.recipe.write_text(f"{text}\n{quick.pins}\n", encoding="utf-8")
    loaded = load_recipe(panel.recipe)
    assert loaded.recipe.bodies() == (tuple(LABELS),)
    assert all(level.source.files for level in loaded.recipe.levels.values())
    fetch_levels(loaded, LABELS, LocalSources(), tmp_path / "fetched")
    edit_json(panel.weights / "adapter_config.json", revision="main")
    with pytest.raises(SourceError, match=r"adapter_config\.json: pinned"):
        fetch_levels(loaded, LABELS, LocalSources(), tmp_path / "fetched")


# The commands


def test_verify_measures_every_level_again(quick: Built, panel: Panel) -> None:
    root = str(quick.bundle.root)
    for arguments in (["verify", root], ["verify", root, "--recipe", str(panel.recipe)]):
        verified = CliRunner().invoke(cli, arguments)
        assert verified.exit_code == 0, verified.output
        assert verified.stdout.splitlines() == parity_table(quick.parities).splitlines()


def test_preflight_looks_at_each_graph_once(built: Built) -> None:
    found = preflight_path(built.bundle.root, [find_target("migraphx@1.23.2")], None)
    assert [result.graph for result in found] == ["level1-fp32.onnx", "level1-fp16.onnx"]
    assert {result.verdict for result in found} == {"one subgraph"}
    inspected = CliRunner().invoke(cli, ["inspect", str(built.bundle.root / "level1-fp32.onnx")])
    assert inspected.exit_code == 0, inspected.output
    assert f"logits: float[batch, {len(OUTPUTS)}]" in inspected.output


def test_the_readme_says_what_shares_a_pass_and_what_opens_level2(built: Built) -> None:
    readme = (built.bundle.root / "README.md").read_text(encoding="utf-8")
    assert "`level1`, `level2`, `injection` and `pii` share one pass" in readme
    assert "`injection` flags a text at P(injection) >= 0.4\n(test).\n" in readme
    assert readme.count("is read for flagged texts") == 1


# Mistakes that must not pass


def _swap(first: str, second: str) -> Callable[[dict[str, object]], None]:
    def change(data: dict[str, object]) -> None:
        levels: dict[str, dict[str, object]] = data["levels"]  # type: ignore[assignment]
        one, other = levels[first], levels[second]
        one["columns"], other["columns"] = other["columns"], one["columns"]

    return change


@pytest.fixture
def copy(quick: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(quick.bundle.root, tmp_path / "copy"))


def test_columns_that_are_swapped_in_the_manifest_fail_both_levels(copy: Path) -> None:
    edit_manifest(copy, _swap("level1", "injection"))
    measured = verify_bundle(Bundle.open(copy), None, LocalSources())
    failed = {parity.level for parity in measured if not parity.passed}
    assert failed == {"level1", "injection"}


def test_columns_that_are_swapped_in_the_recipe_fail_both_levels(
    quick: Built, panel: Panel
) -> None:
    _edit(panel, ("[2, 5]", "[swap]"), ("[7, 10]", "[2, 5]"), ("[swap]", "[7, 10]"))
    measured = verify_bundle(quick.bundle, load_recipe(panel.recipe), LocalSources())
    failed = {parity.level for parity in measured if not parity.passed}
    assert failed == {"level2", "pii"}


def test_a_head_that_is_disturbed_in_the_graph_fails_its_level_and_no_other(copy: Path) -> None:
    file = copy / "level1-cpu.onnx"
    model = onnx.load(file)
    (bias,) = (
        tensor
        for tensor in model.graph.initializer
        if list(tensor.dims)[-1:] == [len(OUTPUTS)] and len(tensor.dims) == 1
    )
    changed = numpy_helper.to_array(bias).copy()
    changed[COLUMNS["injection"][0]] += 1e-3
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    replace_file(copy, "level1-cpu.onnx", model.SerializeToString())
    measured = verify_bundle(Bundle.open(copy), None, LocalSources())
    failed = {(p.level, p.variant) for p in measured if not p.passed}
    assert failed == {("injection", "cpu")}


def test_a_build_stops_if_one_level_of_a_body_misses_its_limits(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, few_proof_texts: None
) -> None:
    first, end = COLUMNS["pii"]

    class Disturbed(OrtSession):
        def run(
            self,
            input_ids: NDArray[np.int64],
            attention_mask: NDArray[np.int64],
            may_leave: NDArray[np.bool_] | None = None,
        ) -> NDArray[np.float32]:
            logits = super().run(input_ids, attention_mask, may_leave)
            logits[:, first:end] += np.float32(1e-3)
            return logits

    monkeypatch.setattr(verify, "OrtSession", Disturbed)
    with pytest.raises(ParityMissed, match="pii cpu: logits differ") as caught:
        _build(panel)
    assert {parity.level for parity in caught.value.parities if not parity.passed} == {"pii"}


@pytest.mark.parametrize("shift", [1e-3, float("nan")])
@pytest.mark.parametrize("column", range(4))
def test_a_merge_that_moves_one_level_of_a_body_is_refused(column: int, shift: float) -> None:
    class Merged(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            logits = torch.zeros(1, 4)
            logits[0, column] = shift
            return SimpleNamespace(logits=logits)

    case = Case(id="one", is_text=True, input_ids=(1, 2))
    zeros = np.zeros((1, 2), dtype=np.float32)
    heads = tuple(
        Head(
            level=level,
            columns=slice(first, first + 2),
            reference=zeros,
            boundary=Boundary(positive=None, threshold=0.5),
        )
        for level, first in (("one", 0), ("other", 2))
    )
    subject = Subject(cases=(case,), tokenizer=TOKENIZER, n_logits=4, heads=heads)
    with pytest.raises(ParityMissed, match="merging moved the logits"):
        check_merged(Merged(), subject)


# What is refused


def _load(panel: Panel) -> Recipe:
    return load_recipe(panel.recipe).recipe


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            [("[7, 10]", "[7, 11]")],
            "levels.pii.columns: expected one for each of the 3 labels, got 4: [7, 11]",
        ),
        ([("[7, 10]", "[7, 7]")], "levels.pii.columns: expected [first, end] of two columns or"),
        ([("[7, 10]", "[10, 7]")], "levels.pii.columns: expected [first, end] of two columns or"),
        ([("[7, 10]", "[-3, 0]")], "levels.pii.columns: expected [first, end] of two columns or"),
        ([("[7, 10]", "[7]")], "levels.pii.columns.1: Field required"),
        (
            [("[7, 10]", "[6, 9]")],
            "levels.pii.columns: [6, 9] are partly those of injection, [5, 7]",
        ),
        (
            [("columns = [7, 10]\n", "")],
            "levels.pii.adapter: is also that of injection; levels of one adapter share its "
            "outputs: give pii columns = [first, end]",
        ),
        (
            [("columns = [5, 7]\n", ""), ("columns = [7, 10]\n", "")],
            "give injection and pii columns = [first, end]",
        ),
        (
            [("[levels.pii]\n", '[levels.pii]\naccept_base = "x"\n')],
            "levels.pii.accept_base: expected that of level1, whose adapter it shares",
        ),
    ],
)
def test_columns_that_cannot_be_are_refused_by_name(
    panel: Panel, changes: list[tuple[str, str]], named: str
) -> None:
    _edit(panel, *changes)
    with pytest.raises(RecipeError) as caught:
        _load(panel)
    assert named in str(caught.value)


def _last_level(panel: Panel, old: str, new: str) -> None:
    text = panel.recipe.read_text(encoding="utf-8")
    head, tail = text.split("[levels.pii]")
    assert old in tail
    panel.recipe.write_text(f"{head}[levels.pii]{tail.replace(old, new, 1)}", encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("-panel", "-other", "levels.pii.adapter_id: expected that of level1"),
        (
            '{ directory = "panel" }',
            '{ directory = "other" }',
            "levels.pii.adapter: expected that of level1, which has the same adapter_id",
        ),
        (
            '{ directory = "panel" }',
            f'{{ directory = "panel", files = {{ "a.json" = "{"0" * 64}" }} }}',
            "levels.pii.adapter.files: expected those of level1, whose adapter it shares",
        ),
    ],
)
def test_levels_on_one_body_name_the_same_adapter_by_name_place_and_pins(
    panel: Panel, old: str, new: str, named: str
) -> None:
    _last_level(panel, old, new)
    with pytest.raises(RecipeError) as caught:
        _load(panel)
    assert named in str(caught.value)


def test_all_problems_of_columns_are_named_at_once(panel: Panel) -> None:
    _edit(panel, ("[7, 10]", "[6, 10]"), ("[2, 5]", "[1, 2]"))
    with pytest.raises(RecipeError) as caught:
        _load(panel)
    for named in (
        "levels.level2.columns: expected [first, end] of two columns",
        "levels.level2.columns: [1, 2] are partly those of level1",
        "levels.pii.columns: expected one for each of the 3 labels, got 4",
        "levels.pii.columns: [6, 10] are partly those of injection",
    ):
        assert named in str(caught.value)


def test_levels_of_different_adapters_are_different_bodies_with_or_without_columns(
    panel: Panel,
) -> None:
    assert _load(panel).bodies() == (tuple(LABELS),)
    text = panel.recipe.read_text(encoding="utf-8")
    panel.recipe.write_text(
        text.replace("-panel", "-other", 1).replace('"panel" }', '"other" }', 1), encoding="utf-8"
    )
    assert _load(panel).bodies() == (("level1",), ("level2", "injection", "pii"))


def test_a_label_may_stand_in_two_levels_on_a_body_and_not_twice_in_one(panel: Panel) -> None:
    _edit(panel, ("'email', 'phone'", "'none', 'phone'"), ("email =", "none ="))
    assert _load(panel).levels["pii"].labels[0] == "none"
    _edit(panel, ("'none', 'phone'", "'phone', 'phone'"))
    with pytest.raises(RecipeError, match=r"levels\.pii\.labels: a label is given twice"):
        _load(panel)


def test_columns_beyond_the_head_are_refused_with_both_numbers(panel: Panel) -> None:
    _edit(panel, ("[7, 10]", "[9, 12]"))
    with pytest.raises(SourceError, match=r"\[9, 12\] end beyond the head, which has 10 outputs"):
        _build(panel)


def _mapping(labels: tuple[str, ...]) -> Mapping[str, int]:
    return {label: i for i, label in enumerate(labels)}


def test_what_the_adapters_files_say_is_compared_with_each_levels_columns(
    panel: Panel, few_proof_texts: None
) -> None:
    mapping = panel.weights / "label_mapping.json"
    mapping.write_text(json.dumps({"label_to_id": _mapping(OUTPUTS)}), encoding="utf-8")
    _edit(panel, ("labels = ['email', 'phone', 'name']\n", ""))
    built = _build(panel)
    assert built.bundle.manifest.levels["pii"].labels == LABELS["pii"]
    assert built.bundle.manifest.provenance["pii.labels"] == "label_mapping.json: label_to_id"
    turned = (OUTPUTS[1], OUTPUTS[0], *OUTPUTS[2:])
    mapping.write_text(json.dumps({"label_to_id": _mapping(turned)}), encoding="utf-8")
    with pytest.raises(SourceError, match="level1: the labels differ in names or order"):
        _build(panel)
    mapping.write_text(json.dumps({"label_to_id": _mapping(OUTPUTS[:9])}), encoding="utf-8")
    with pytest.raises(SourceError, match="label_to_id names 9 outputs, the head has 10"):
        _build(panel)


@pytest.mark.parametrize("family", ["modernbert", "roberta", "deberta-v2"])
def test_the_outputs_of_a_checkpoint_are_counted_whatever_its_head_is_called(
    tmp_path: Path, family: str
) -> None:
    config = families()[family].config
    config.num_labels = 7
    AutoModelForSequenceClassification.from_config(config).save_pretrained(
        tmp_path, max_shard_size="100KB"
    )
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    source = LevelSources(base=fetched(tmp_path, "test/m"), adapter=None)
    assert count_outputs(source) == 7
    for file in tmp_path.glob("*.safetensors"):
        kept = {name: t for name, t in load_file(file).items() if "classifier" not in name}
        save_file(kept, file, {"format": "pt"})
    with pytest.raises(SourceError, match="test/m: its files hold no trained classification head"):
        count_outputs(source)


def test_an_adapter_without_a_head_is_refused_before_it_is_loaded(panel: Panel) -> None:
    file = panel.weights / "adapter_model.safetensors"
    kept = {name: t for name, t in load_file(file).items() if "classifier" not in name}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(SourceError, match="hold no trained classification head"):
        _build(panel)


def test_a_local_adapter_is_for_the_whole_body_and_two_are_refused(
    panel: Panel, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copytree(panel.weights, tmp_path / "elsewhere"))
    edit_json(elsewhere / "adapter_config.json", revision="main")
    loaded = load_recipe(panel.recipe)
    one = LocalSources(adapters={"pii": elsewhere})
    found = fetch_levels(loaded, LABELS, one, tmp_path / "fetched")
    assert list(found) == list(LABELS)
    assert len({id(sources.adapter) for sources in found.values()}) == 1
    adapter = found["level1"].adapter
    assert adapter is not None
    config = json.loads((adapter.directory / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["revision"] == "main"
    two = LocalSources(adapters={"pii": elsewhere, "level1": panel.weights})
    with pytest.raises(RecipeError, match="level1, level2, injection, pii share one body"):
        fetch_levels(loaded, LABELS, two, tmp_path / "fetched")
