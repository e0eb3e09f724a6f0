"""Variants for GPUs in a recipe: what is built, what the bundle says of it, and what is refused."""

import shutil
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from hazgate import Bundle
from hazgate.bundle.manifest import VariantSpec
from hazgate_export.__main__ import cli
from hazgate_export.build import build
from hazgate_export.errors import ParityMissed, RecipeError
from hazgate_export.graphs.inspect_graph import summarise
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from hazgate_export.verify_bundle import verify_bundle

CPU = "CPUExecutionProvider"
MIGRAPHX = "MIGraphXExecutionProvider"


def _variant(precision: str, *, preflight: str = "migraphx@1.23.2", max_diff: float = 5e-2) -> str:
    return f"""[variants.{precision}]
precision = "{precision}"
preflight = ["{preflight}"]
parity = {{ max_abs_logit_diff = {max_diff}, max_changed_share = 0.0, decision_margin = 0.05, \
max_invariance_diff = {max_diff} }}

"""


def _recipe(tiny_recipe: Path, folder: Path, variants: str) -> Path:
    sources = Path(shutil.copytree(tiny_recipe.parent, folder / "sources"))
    text = tiny_recipe.read_text(encoding="utf-8")
    file = sources / "gpu.toml"
    file.write_text(text.replace("[parity]", variants + "[parity]"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def gpu_bundle(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("gpu")
    # Random weights are further off in bfloat16 than trained ones.
    variants = _variant("fp16") + _variant("bf16", max_diff=0.3)
    recipe = _recipe(tiny_recipe, folder, variants)
    return build(load_recipe(recipe), folder / "bundle", LocalSources()).bundle


def _spec(bundle: Bundle, variant: str) -> VariantSpec:
    return bundle.manifest.levels["level1"].variants[variant]


def test_the_manifest_says_what_a_variant_is_for(gpu_bundle: Bundle) -> None:
    providers = {
        variant: set(spec.execution_providers)
        for variant, spec in gpu_bundle.manifest.levels["level1"].variants.items()
    }
    gpus = {MIGRAPHX, "ROCMExecutionProvider", "CUDAExecutionProvider"}
    assert providers == {"fp32": {CPU, *gpus}, "int8": {CPU}, "fp16": gpus, "bf16": gpus}
    for variant in ("fp16", "bf16"):
        spec = _spec(gpu_bundle, variant)
        assert (spec.precision, spec.kind, spec.batching) == (variant, "portable", "padded")
        assert 1e-6 < spec.parity.max_abs_logit_diff < 0.3


def test_the_bundles_readme_says_what_halves_were_measured_on(
    gpu_bundle: Bundle, tiny_bundle: Path
) -> None:
    assert "float32 twin" in (gpu_bundle.root / "README.md").read_text(encoding="utf-8")
    assert "twin" not in (tiny_bundle / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("variant", "kind"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_a_half_table_is_stored_once_for_both_levels(
    gpu_bundle: Bundle, variant: str, kind: str
) -> None:
    graphs = [gpu_bundle.root / f"{level}-{variant}.onnx" for level in ("level1", "level2")]
    assert all(summarise(graph).weight_bytes[kind] > 10_000 for graph in graphs)
    places = []
    for graph in graphs:
        tensors = onnx.load(graph, load_external_data=False).graph.initializer
        largest = max(tensors, key=lambda tensor: max(tensor.dims, default=0))
        places.append({entry.key: entry.value for entry in largest.external_data})
    assert places[0] == places[1]
    assert places[0]["location"] == f"weights/level1-{variant}+level2-{variant}.bin"


def test_verify_measures_halves_as_the_build_did(gpu_bundle: Bundle) -> None:
    found = {
        (parity.level, parity.variant): parity.max_abs_logit_diff
        for parity in verify_bundle(gpu_bundle, None, LocalSources())
    }
    for name, level in gpu_bundle.manifest.levels.items():
        for variant, spec in level.variants.items():
            assert found[name, variant] == pytest.approx(spec.parity.max_abs_logit_diff, abs=1e-6)


def test_preflight_of_a_bundle_judges_the_variants_for_that_provider(gpu_bundle: Bundle) -> None:
    arguments = ["preflight", str(gpu_bundle.root), "--target", "migraphx@1.23.2"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0
    assert sorted(line.split()[0] for line in result.stdout.splitlines()) == sorted(
        f"{level}-{variant}.onnx"
        for level in ("level1", "level2")
        for variant in ("fp32", "fp16", "bf16")
    )
    assert result.stdout.count("8x64  one subgraph") == 6
    # bfloat16 is younger than this release.
    result = CliRunner().invoke(cli, [*arguments[:-1], "migraphx@1.22"])
    assert result.exit_code == 1
    assert result.stdout.count("all CPU") == 2


def test_a_bundle_without_such_variants_cannot_be_judged(tmp_path: Path, tiny_bundle: Path) -> None:
    from tests.support.damage import edit_manifest

    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))

    def cpu_only(data: dict[str, object]) -> None:
        for level in data["levels"].values():  # type: ignore[attr-defined]
            for variant in level["variants"].values():
                variant["execution_providers"] = [CPU]

    edit_manifest(copy, cpu_only)
    result = CliRunner().invoke(cli, ["preflight", str(copy), "--target", "migraphx@1.23.2"])
    assert result.exit_code == 3
    assert f"is for {MIGRAPHX}" in result.stderr


def test_a_graph_that_would_land_on_the_cpu_leaves_no_bundle(
    tiny_recipe: Path, tmp_path: Path, few_proof_texts: None
) -> None:
    recipe = _recipe(tiny_recipe, tmp_path, _variant("fp16", preflight="migraphx@1.20"))
    with pytest.raises(ParityMissed) as caught:
        build(load_recipe(recipe), tmp_path / "bundle", LocalSources())
    assert "level1-fp16.onnx  migraphx@1.20  8x64  partitioned" in str(caught.value)
    assert "level2-fp16.onnx  migraphx@1.20" in str(caught.value)
    assert "LayerNormalization: not in its list of operators" in str(caught.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('precision = "fp16"', 'precision = "fp16"\ngraph = "authored"', "variants.fp16.graph"),
        ('precision = "fp16"', 'precision = "fp16"\nint8_scheme = "dynamic"', "int8_scheme"),
        ('["migraphx@1.23.2"]', '["migraphx@9"]', "nothing is known of migraphx '9'"),
        ('["migraphx@1.23.2"]', '["cuda@12"]', "'cuda@12' is not one of"),
        (
            "[variants.int8]\n",
            '[variants.int8]\npreflight = ["migraphx@1.23.2"]\n',
            "variants.int8.preflight",
        ),
    ],
)
def test_a_contradiction_is_refused_by_name(
    tiny_recipe: Path, tmp_path: Path, old: str, new: str, named: str
) -> None:
    recipe = _recipe(tiny_recipe, tmp_path, _variant("fp16"))
    text = recipe.read_text(encoding="utf-8")
    assert old in text
    recipe.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    assert named in str(caught.value)
