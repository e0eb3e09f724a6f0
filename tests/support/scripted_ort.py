"""A stand-in for an onnxruntime with a GPU provider, right or wrong.

The real one runs the graphs on the CPU. A script decides which provider owns them and how it
fails. Its behaviour comes from ONNX Runtime's source and wheels; see the tests.
"""

import hashlib
import json
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as real

CPU = "CPUExecutionProvider"


@dataclass(kw_only=True)
class Script:
    """Its behaviour; `asked` records every session that it was asked for."""

    name: str = "MIGraphXExecutionProvider"
    version: str = "1.24.2"
    # An error of `InferenceSession`, as a missing library raises one.
    create_error: Exception | None = None
    # Silently open a session on the CPU, as ONNX Runtime 1.22 does.
    silent_cpu: bool = False
    # Nodes that the CPU owns, by their types.
    cpu_ops: Sequence[str] = ()
    # Added to every logit, as by a wrong program.
    drift: float = 0.0
    # Programs are kept by the graph's file name, as MIGraphX keeps them: not by its weights.
    keeps_programs: bool = False
    devices: int = 1
    ignores_overrides: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    fallback_disabled: int = 0
    compiled: int = 0
    registered: list[str] = field(default_factory=list)


class _Options:
    """The real session options, and settings that the real session must not see."""

    def __init__(self, script: Script) -> None:
        self.__dict__["_script"] = script
        self.__dict__["_real"] = real.SessionOptions()
        self.__dict__["entries"] = {}
        self.__dict__["devices"] = None
        self.__dict__["enable_profiling"] = False
        self.__dict__["profile_file_prefix"] = ""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self._real, name, value)

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value

    def add_free_dimension_override_by_name(self, name: str, value: int) -> None:
        if not self._script.ignores_overrides:
            self._real.add_free_dimension_override_by_name(name, value)

    def add_provider_for_devices(self, devices: Sequence[Any], options: dict[str, str]) -> None:
        self.__dict__["devices"] = (devices, options)


class _Session:
    def __init__(
        self,
        script: Script,
        path: str,
        options: _Options,
        providers: Sequence[Any] | None,
        enable_fallback: bool,
    ) -> None:
        given = dict(providers[0][1]) if providers and isinstance(providers[0], tuple) else {}
        if options.devices is not None:
            given = options.devices[1]
        script.asked.append(
            {
                "providers": providers,
                "options": given,
                "entries": dict(options.entries),
                "fallback": enable_fallback,
            }
        )
        if script.create_error is not None:
            raise script.create_error
        by_providers = providers is not None and script.name in [
            p[0] if isinstance(p, tuple) else p for p in providers
        ]
        # ONNX Runtime silently ignores a plug-in that is named in `providers`.
        is_plugged = options.devices is not None and providers is None
        built_in = bool(by_providers and not script.registered)
        self._on_gpu = (built_in or is_plugged) and not script.silent_cpu
        self._script = script
        self._session = real.InferenceSession(path, options._real, providers=[CPU])
        self._options = options
        self._path = path
        self._profile = Path(f"{options.profile_file_prefix}_1.json")
        self._drift = script.drift if self._on_gpu else 0.0
        cache = given.get("migraphx_model_cache_dir", given.get("cache_dir"))
        if self._on_gpu and script.keeps_programs and cache is not None:
            self._take_program(Path(cache))
        elif self._on_gpu:
            script.compiled += 1

    def _take_program(self, cache: Path) -> None:
        """Run the cached program of the graph's name, whatever weights it was compiled from."""
        weights = Path(self._path).read_bytes() + b"".join(
            file.read_bytes() for file in sorted(Path(self._path).parent.glob("*/*.bin"))
        )
        program = cache / f"{Path(self._path).stem}.mxr"
        own = hashlib.sha256(weights).hexdigest()
        if not program.exists():
            program.write_text(own)
            self._script.compiled += 1
        # Another model's program gives another model's logits.
        self._drift += 0.0 if program.read_text() == own else 7.0

    def disable_fallback(self) -> None:
        self._script.fallback_disabled += 1

    def get_providers(self) -> list[str]:
        return [self._script.name, CPU] if self._on_gpu else [CPU]

    def get_inputs(self) -> list[Any]:
        return list(self._session.get_inputs())

    def get_outputs(self) -> list[Any]:
        return list(self._session.get_outputs())

    def _nodes(self) -> list[tuple[str, str]]:
        gpu = [(self._script.name, "MGXKernel")] if self._on_gpu else []
        return gpu + [(CPU, op) for op in self._script.cpu_ops]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        assert self._options.entries.get("session.record_ep_graph_assignment_info") == "1"
        return [
            types.SimpleNamespace(
                ep_name=owner, get_nodes=lambda op=op: [types.SimpleNamespace(op_type=op)]
            )
            for owner, op in self._nodes()
        ]

    def run(self, names: Sequence[str], feeds: dict[str, Any]) -> list[Any]:
        logits = [output + np.float32(self._drift) for output in self._session.run(names, feeds)]
        if self._options.enable_profiling:
            events = [
                {
                    "cat": "Node",
                    "name": f"{op}_kernel_time",
                    "args": {"provider": owner, "op_name": op},
                }
                for owner, op in self._nodes()
            ]
            self._profile.write_text(json.dumps(events), encoding="utf-8")
        return logits

    def end_profiling(self) -> str:
        self._options.enable_profiling = False
        return str(self._profile)


def scripted(script: Script) -> types.ModuleType:
    """Return a module that replaces onnxruntime."""
    module = types.ModuleType("onnxruntime")

    def session(
        path: str,
        options: _Options,
        providers: Sequence[Any] | None = None,
        enable_fallback: bool = True,
    ) -> _Session:
        return _Session(script, path, options, providers, enable_fallback)

    def register(name: str, library: str) -> None:
        if name in script.registered:
            raise RuntimeError(f"library is already registered under {name}")
        script.registered.append(name)

    def devices() -> list[Any]:
        device = types.SimpleNamespace(ep_name=script.name)
        return [device] * script.devices if script.registered else []

    namespace: dict[str, Callable[..., Any] | object] = {
        "__version__": script.version,
        "SessionOptions": lambda: _Options(script),
        "InferenceSession": session,
        "get_available_providers": lambda: [script.name, CPU],
        "ExecutionMode": real.ExecutionMode,
        "GraphOptimizationLevel": real.GraphOptimizationLevel,
        "register_execution_provider_library": register,
        "get_ep_devices": devices,
    }
    for name, value in namespace.items():
        setattr(module, name, value)
    return module
