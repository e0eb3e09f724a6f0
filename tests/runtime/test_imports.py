"""Importing hazgate costs a gateway nothing that it did not ask for."""

import json
from types import ModuleType

import pytest

import hazgate
from tests.support.processes import run_python

HEAVY = (
    "torch",
    "transformers",
    "onnx",
    "huggingface_hub",
    "onnxruntime",
    "pydantic",
    "click",
    "rich",
    "peft",
    "optimum",
    "ray",
    "kserve",
    "hazgate_export",
    "tomllib",
    "tomli",
)


def _loaded_by(code: str) -> set[str]:
    """Top-level modules of a fresh process after `code`, warnings being errors."""
    done = run_python("-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_import_loads_no_engine_no_training_library_and_no_command_line() -> None:
    loaded = _loaded_by("import hazgate")
    assert "hazgate" in loaded
    assert not loaded & set(HEAVY)


def test_the_command_line_loads_its_own_libraries_only() -> None:
    loaded = _loaded_by("import hazgate.cli.group")
    assert {"click", "rich"} <= loaded
    assert not loaded & (set(HEAVY) - {"click", "rich"})
    assert not loaded & {"pyarrow", "fsspec"}


@pytest.mark.parametrize("module", ["policy", "decision", "taxonomy", "moderation"])
def test_importing_a_part_loads_no_toml_before_a_file_is_read(module: str) -> None:
    assert not _loaded_by(f"import hazgate.judging.{module}") & set(HEAVY)


def test_serving_loads_neither_torch_nor_transformers_nor_onnx(tiny_bundle: object) -> None:
    loaded = _loaded_by(
        f"from hazgate import EngineOptions, Gate; "
        f"Gate.open({str(tiny_bundle)!r}, engine=EngineOptions(threads=1)).check('hello')"
    )
    assert {"onnxruntime", "tokenizers"} <= loaded
    assert not loaded & (set(HEAVY) - {"onnxruntime"})


def test_all_is_every_public_name_in_order() -> None:
    public = {
        name
        for name, value in vars(hazgate).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert hazgate.__all__ == sorted(public)


def test_every_error_is_public_and_of_one_tree() -> None:
    from hazgate import errors

    tree = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert set(tree) <= set(hazgate.__all__)
    assert all(issubclass(kind, hazgate.HazgateError) for kind in tree.values())
