"""Print a server's answers to Triton's client as JSON; needs an environment with that client.

usage: ask_triton_server.py (http|grpc) ADDRESS < CALLS

CALLS is a JSON list. A call is {"texts": [..], "shape", "parameters", "outputs"}, where only
the texts (base64) are required, or {"at_once": [calls]}, or {"unload": model}, or
{"metadata": model}, or {"statistics": model}. Each answer is a result or an error;
calls at once have one answer each.
"""

import base64
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

# Without type information: the client's module, its client and an answer.
Module: TypeAlias = Any
Client: TypeAlias = Any
Result: TypeAlias = Any
Json: TypeAlias = Any


def main() -> None:
    """Ask every call and print the answers."""
    protocol, address = sys.argv[1:]
    triton: Module = importlib.import_module(f"tritonclient.{protocol}")
    concurrency = {"concurrency": 64} if protocol == "http" else {}
    client = triton.InferenceServerClient(address, **concurrency)
    json.dump([_answer(triton, client, call) for call in json.load(sys.stdin)], sys.stdout)


def _answer(triton: Module, client: Client, call: dict[str, Any]) -> Json:
    as_json = {"as_json": True} if triton.__name__.endswith("grpc") else {}
    if "at_once" in call:
        pending = [_begin(triton, client, each) for each in call["at_once"]]
        return [_found(triton, wait) for wait in pending]
    if "unload" in call:
        return _found(triton, lambda: client.unload_model(call["unload"]))
    if "metadata" in call:
        return _found(triton, lambda: client.get_model_metadata(call["metadata"], **as_json))
    if "statistics" in call:
        model = call["statistics"]
        return _found(triton, lambda: client.get_inference_statistics(model, **as_json))
    return _found(triton, lambda: _values(client.infer("hazgate", **_request(triton, call))))


def _found(triton: Module, ask: Callable[[], Json]) -> Json:
    try:
        return ask()
    except triton.InferenceServerException as error:
        return {"error": error.message(), "status": str(error.status())}


def _begin(triton: Module, client: Client, call: dict[str, Any]) -> Callable[[], Json]:
    """Send a call and return a function that waits for its answer."""
    request = _request(triton, call)
    if not triton.__name__.endswith("grpc"):
        begun = client.async_infer("hazgate", **request)
        return lambda: _values(begun.get_result())
    import concurrent.futures

    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    client.async_infer(
        "hazgate",
        callback=lambda result, error: (
            future.set_exception(error) if error else future.set_result(result)
        ),
        **request,
    )
    return lambda: _values(future.result())


def _request(triton: Module, call: dict[str, Any]) -> dict[str, Any]:
    texts = np.array([base64.b64decode(text) for text in call["texts"]], dtype=object)
    texts = texts.reshape(call.get("shape", [len(texts), 1]))
    tensor = triton.InferInput("text", list(texts.shape), "BYTES")
    tensor.set_data_from_numpy(texts)
    outputs = call.get("outputs")
    return {
        "inputs": [tensor],
        "outputs": outputs and [triton.InferRequestedOutput(name) for name in outputs],
        "parameters": call.get("parameters"),
    }


def _values(result: Result) -> dict[str, Any]:
    arrays = {name: result.as_numpy(name) for name in ("unsafe", "flagged", "verdict")}
    return {
        name: {
            "type": str(array.dtype),
            "shape": list(array.shape),
            "values": [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()],
        }
        for name, array in arrays.items()
        if array is not None
    }


main()
