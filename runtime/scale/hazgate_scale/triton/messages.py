"""Triton's messages of a model's configuration, from its client's package."""

import functools
import importlib.util
from pathlib import Path
from typing import Any, TypeAlias

from hazgate.cli.extras import MissingExtra

# Triton's message; generated code has no type information.
ModelConfig: TypeAlias = Any
_PACKAGE = "tritonclient"


@functools.cache
def messages() -> Any:  # noqa: ANN401 - generated, without type information
    """Load the module `model_config_pb2`.

    Only this file is loaded: its package also registers the inference protocol's messages under the
    names of KServe's, and a process can have only one of them.

    Raises:
        MissingExtra: tritonclient is not installed, or has no such module.
    """
    package = importlib.util.find_spec(_PACKAGE)
    folders = [] if package is None else list(package.submodule_search_locations or [])
    files = [Path(folder) / "grpc" / "model_config_pb2.py" for folder in folders]
    for file in filter(Path.is_file, files):
        spec = importlib.util.spec_from_file_location("hazgate_scale_model_config_pb2", file)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise MissingExtra("triton", "tritonclient", "hazgate-scale[triton]")
