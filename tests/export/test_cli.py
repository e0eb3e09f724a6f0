"""The exporter's command line: help, exit codes and output."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from hazgate_export.__main__ import cli
from hazgate_export.model.standin import production_levels
from hazgate_export.recipe_file import load_recipe

ROOT = Path(__file__).parents[2]


def _run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help_with_an_example(command: str) -> None:
    code, out, _ = _run(command, "--help")
    assert code == 0
    assert f"Example: hazgate-export {command}" in out


def test_help_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, hazgate_export.__main__ as m\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


HEAVY = (
    "torch",
    "transformers",
    "peft",
    "optimum",
    "onnx_ir",
    "safetensors",
    "sklearn",
    "huggingface_hub",
)


def _run_without_heavy_libraries(arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that cannot import the libraries of `hazgate-export[build]`."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
        f"sys.argv = {['hazgate-export', *map(str, arguments)]!r}\n"
        "from hazgate_export.__main__ import main\n"
        "main()\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_inspect_and_preflight_run_without_torch(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    file = tmp_path / "graph.onnx"
    onnx.save_model(model, file)
    inspected = _run_without_heavy_libraries(["inspect", file])
    assert "Identity" in inspected.stdout, inspected.stderr
    judged = _run_without_heavy_libraries(["preflight", file, "--target", "migraphx@1.23.2"])
    assert "one subgraph" in judged.stdout, judged.stderr
    assert inspected.returncode == judged.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", ROOT / "export" / "recipes" / "mini.toml"],
        ["verify", "bundle"],
        ["finetune", ROOT / "export" / "recipes" / "mini.toml", "--data", "rows.jsonl"],
        ["standin", "folder"],
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_commands_that_load_models_name_the_extra_they_need(arguments: list[object]) -> None:
    done = _run_without_heavy_libraries(arguments)
    assert done.returncode == 1
    assert "pip install 'hazgate-export[build]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_stand_in_has_the_labels_of_the_production_recipe() -> None:
    recipe = load_recipe(ROOT / "export" / "recipes" / "mlcommons.toml").recipe
    labels = {name: level.labels for name, level in recipe.levels.items()}
    assert production_levels() == labels


def test_a_recipe_that_does_not_exist_is_exit_code_2(tmp_path: Path) -> None:
    code, _, err = _run("build", tmp_path / "none.toml")
    assert code == 2
    assert "cannot be read" in err


def test_unknown_options_and_malformed_adapters_are_usage_errors(tmp_path: Path) -> None:
    assert _run("build", "x.toml", "--fast")[0] == 2
    code, _, err = _run("build", "x.toml", "--adapter", "level1")
    assert code == 2
    assert "LEVEL=DIRECTORY" in err


def test_a_folder_that_is_not_a_bundle_is_exit_code_3(tmp_path: Path) -> None:
    assert _run("verify", tmp_path)[0] == 3


def test_an_adapter_without_its_base_is_exit_code_4(tiny_recipe: Path, tmp_path: Path) -> None:
    code, _, err = _run(
        "build", tiny_recipe, "--out", tmp_path / "bundle", "--base", tmp_path / "nowhere"
    )
    assert code == 4
    assert "no directory" in err


def test_verify_prints_the_table_of_a_good_bundle(tiny_bundle: Path) -> None:
    code, out, _ = _run("verify", tiny_bundle)
    assert code == 0
    assert out.count("passed") == 4


def test_verify_takes_local_sources_only_with_a_recipe(tiny_bundle: Path, tmp_path: Path) -> None:
    code, _, err = _run("verify", tiny_bundle, "--base", tmp_path)
    assert code == 2
    assert "--recipe" in err


def test_verify_misses_the_limits_with_another_adapters_recipe(
    tiny_bundle: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    """Compare the bundle's graphs with a model whose LoRA scale was halved."""
    import shutil

    sources = Path(shutil.copytree(tiny_recipe.parent, tmp_path / "sources"))
    config = sources / "level1" / "adapter_config.json"
    data = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**data, "lora_alpha": data["lora_alpha"] / 2}))
    code, out, err = _run("verify", tiny_bundle, "--recipe", sources / tiny_recipe.name)
    assert code == 1
    assert "MISSED" in out
    assert "level1 fp32: logits differ by" in err


def test_inspect_prints_operators_weights_and_signature(tiny_bundle: Path) -> None:
    code, out, _ = _run("inspect", tiny_bundle / "level1-int8.onnx")
    assert code == 0
    assert "MatMulInteger" in out
    assert "input_ids: int64[batch, sequence]" in out
    code, out, _ = _run("inspect", tiny_bundle / "level1-int8.onnx", "--json")
    assert json.loads(out)["operators"]["MatMulInteger"] > 0


def test_inspect_of_a_file_that_is_not_onnx_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff\xff no graph")
    code, _, err = _run("inspect", tmp_path / "x.onnx")
    assert code == 3
    assert "not an ONNX file" in err


def test_finetune_of_a_recipe_without_the_table_is_exit_code_2(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    code, _, err = _run("finetune", tiny_recipe, "--data", tmp_path / "rows.jsonl")
    assert code == 2
    assert "levels.level1 has no table finetune, nor a table task" in err
    assert "levels.level2 has no table finetune, nor a table task" in err


def test_make_help_lists_every_target_on_one_line() -> None:
    # Under `make test` this make runs inside a make, and would print the folder that it enters.
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY"))
    targets = phony.split(":", 1)[1].split()
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(targets)
