"""Writes one merged model in the form that each engine wants.

    python -m benchmarks.engines.forms MERGED FOLDER ROWS

Conversion holds several copies of the model and the libraries of every engine, so it must not
happen in a process that is measured. Existing forms are used again.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.process import run_module
from hazgate.cli.progress import step

PORTABLE = "portable.onnx"
DYNAMIC = "dynamic-int8.onnx"
DYNAMIC_REDUCED = "dynamic-int8-reduced.onnx"
OPENVINO_WEIGHTS = "openvino-int8-weights.xml"
OPENVINO_STATIC = "openvino-static-int8.xml"

_OPSET = 18
_INT8_RUNS = 48
_SEED = 20263


def write_forms(merged: Path, folder: Path, rows: Sequence[Sequence[int]]) -> None:
    """Write the model in `merged` into `folder`, in a child that gives its memory back.

    Args:
        merged: a merged model's folder.
        folder: receives each form that it lacks.
        rows: token ids that int8's activations are measured on.

    Raises:
        WorkerFailed: a conversion failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.json"
        file.write_text(json.dumps([list(row) for row in rows]), encoding="utf-8")
        run_module("benchmarks.engines.forms", [str(merged), str(folder), str(file)])


@click.command()
@click.argument("merged", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("rows_file", metavar="ROWS", type=click.Path(path_type=Path, exists=True))
def main(merged: Path, folder: Path, rows_file: Path) -> None:
    """Write the model in MERGED into FOLDER; ROWS is a JSON file of rows of token ids."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [np.array(row, dtype=np.int64) for row in json.loads(rows_file.read_text())]
    writers: dict[str, Callable[[Path], None]] = {
        PORTABLE: lambda file: _write_portable(merged, file),
        DYNAMIC: lambda file: _write_dynamic(folder / PORTABLE, file, reduce_range=False),
        DYNAMIC_REDUCED: lambda file: _write_dynamic(folder / PORTABLE, file, reduce_range=True),
        OPENVINO_WEIGHTS: lambda file: _write_compressed(folder / PORTABLE, file),
        OPENVINO_STATIC: lambda file: _write_static(folder / PORTABLE, file, rows),
    }
    for name, write in writers.items():
        if not (folder / name).is_file():
            step(f"write {name}")
            write(folder / name)


def _write_portable(merged: Path, file: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    from hazgate_export.graphs.convert import export_onnx

    model = AutoModelForSequenceClassification.from_pretrained(
        merged, attn_implementation="eager", local_files_only=True
    )
    export_onnx(model.eval(), file, _OPSET)


def _write_dynamic(portable: Path, file: Path, *, reduce_range: bool) -> None:
    """Quantise with ONNX Runtime's dynamic quantisation, as its users call it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        portable,
        file,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )


def _write_compressed(portable: Path, file: Path) -> None:
    """Compress weights with NNCF: int8, symmetric, a scale per output."""
    import nncf
    import openvino

    model = openvino.Core().read_model(portable)
    compressed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(compressed, file, compress_to_fp16=False)


def _write_static(portable: Path, file: Path, rows: list[NDArray[np.int64]]) -> None:
    """Quantise with NNCF's post-training quantisation and its settings for transformers."""
    import nncf
    import openvino

    def inputs() -> Iterator[dict[str, NDArray[np.int64]]]:
        order = np.random.default_rng(_SEED).permutation(len(rows))[:_INT8_RUNS]
        for i in order:
            yield {"input_ids": rows[i][None], "attention_mask": np.ones_like(rows[i][None])}

    model = openvino.Core().read_model(portable)
    samples = list(inputs())
    quantised = nncf.quantize(
        model,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
    )
    openvino.save_model(quantised, file, compress_to_fp16=False)


if __name__ == "__main__":
    main()
