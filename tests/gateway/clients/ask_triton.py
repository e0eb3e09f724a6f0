"""Ask a server with Triton's client and print JSON; runs in an environment with the client.

usage: ask_triton.py (http|grpc) (binary|json) ADDRESS MODEL TEXT...
"""

import importlib
import json
import sys
from types import ModuleType
from typing import Any

import numpy as np


def _errors(triton: ModuleType, address: str) -> list[str]:
    """Return what the client says of routes that are not there, also at a wrong address."""
    said = []
    client, lost = (triton.InferenceServerClient(base) for base in (address, f"{address}/lost"))
    for call in (
        client.get_model_repository_index,
        client.get_log_settings,
        lambda: client.get_model_config("another"),
        lost.get_server_metadata,
        lambda: lost.get_model_metadata("another"),
    ):
        try:
            call()
        except triton.InferenceServerException as error:
            said.append(str(error))
    return said


def main() -> None:
    """Make each call once and print the answers."""
    protocol, form, address, model, *texts = sys.argv[1:]
    triton: Any = importlib.import_module(f"tritonclient.{protocol}")
    # Over HTTP a tensor is binary unless JSON is asked for; over gRPC there is no choice.
    binary = {"binary_data": False} if form == "json" else {}
    tensor = triton.InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([t.encode() for t in texts], dtype=object), **binary)
    outputs = [triton.InferRequestedOutput(name, **binary) for name in ("unsafe", "flagged")]
    client = triton.InferenceServerClient(address)
    as_json = {"as_json": True} if protocol == "grpc" else {}
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "server": client.get_server_metadata(**as_json),
        "model": client.get_model_metadata(model, **as_json),
    }
    # The form's default, and outputs as if nobody had chosen any.
    chosen = client.infer(model, [tensor], outputs=outputs, request_id="7")
    everything = client.infer(model, [tensor])
    found["id"] = chosen.get_response(**as_json)["id"]
    for name in ("unsafe", "flagged"):
        values = chosen.as_numpy(name)
        found[name] = {"type": str(values.dtype), "values": values.tolist()}
        assert everything.as_numpy(name).tolist() == values.tolist()
    try:
        client.infer("another", [tensor])
    except triton.InferenceServerException as error:
        found["unknown_model"] = str(error)
    found["errors"] = _errors(triton, address) if protocol == "http" else []
    json.dump(found, sys.stdout)


main()
