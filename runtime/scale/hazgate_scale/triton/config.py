"""Triton's `ModelConfig` of each model in a layout. Pure."""

import json
from typing import Any

from hazgate_scale.triton import warm_up
from hazgate_scale.triton.layout import DECIDES, LevelModel, RepositoryLayout
from hazgate_scale.triton.messages import ModelConfig, messages
from hazgate_scale.triton.options import RepositoryOptions

LABELS_FILE = "labels.txt"
# The backend's name of ONNX Runtime's basic level, at which hazgate opens graphs of fused
# operators; see hazgate.engine.session.session_options.
_BASIC = -1


def level_config(
    model: LevelModel, layout: RepositoryLayout, options: RepositoryOptions, digest: str
) -> ModelConfig:
    """Build the `ModelConfig` of a level for the ONNX Runtime backend.

    Args:
        model: the level.
        layout: the repository's layout.
        options: the repository's options.
        digest: digest of the bundle.
    """
    pb = messages()
    config = pb.ModelConfig(
        name=model.name,
        backend="onnxruntime",
        default_model_filename="model.onnx",
        max_batch_size=model.max_batch_size,
    )
    for name in ("input_ids", "attention_mask"):
        config.input.add(name=name, data_type=pb.TYPE_INT64, dims=[model.tokens or -1])
    config.output.add(
        name="logits",
        data_type=pb.TYPE_FP32,
        dims=[len(model.spec.labels)],
        label_filename=LABELS_FILE,
    )
    if model.max_batch_size > 1:
        _batch(config, options)
    kinds = pb.ModelInstanceGroup
    kind = kinds.KIND_GPU if layout.provider.gpu else kinds.KIND_CPU
    config.instance_group.add(kind=kind, count=options.instances)
    if model.variant.kind in ("authored", "fused"):
        config.optimization.graph.level = _BASIC
    if model.variant.kind == "fused":
        config.model_operations.op_library_filename.append(str(options.kernels))
    if options.provider == "migraphx":
        _use_migraphx(config, model, options, digest)
    if options.threads is not None:
        config.parameters["intra_op_thread_count"].string_value = str(options.threads)
    for batch_size in warm_up.batch_sizes(model.max_batch_size):
        sample = config.model_warmup.add(name=f"{batch_size} rows", batch_size=batch_size)
        shape = {"data_type": pb.TYPE_INT64, "dims": [model.longest]}
        # Any ids will do; the mask decides the work.
        sample.inputs["input_ids"].CopyFrom(sample.Input(**shape, zero_data=True))
        mask = sample.Input(**shape, input_data_file=warm_up.MASK_FILE)
        sample.inputs["attention_mask"].CopyFrom(mask)
    return config


def decides_config(
    layout: RepositoryLayout, options: RepositoryOptions, digest: str
) -> ModelConfig:
    """Build the `ModelConfig` of the model that reads texts, for the Python backend."""
    pb = messages()
    config = pb.ModelConfig(name=DECIDES, backend="python", max_batch_size=options.max_batch_size)
    config.input.add(name="text", data_type=pb.TYPE_STRING, dims=[1])
    outputs = {"unsafe": pb.TYPE_FP32, "flagged": pb.TYPE_BOOL, "verdict": pb.TYPE_STRING}
    for name, data_type in outputs.items():
        config.output.add(name=name, data_type=data_type, dims=[1])
    if options.max_batch_size > 1:
        _batch(config, options)
    # Python owns no device: the sessions that it opens choose their own.
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=options.instances)
    parameters = {
        "digest": digest,
        "variant": layout.variant,
        "provider": layout.provider.name,
        "engine": options.engine,
        "levels": json.dumps(_levels(layout)),
    }
    if options.threads is not None:
        parameters["threads"] = str(options.threads)
    if options.programs is not None:
        parameters["programs"] = str(options.programs)
    for name, value in parameters.items():
        config.parameters[name].string_value = value
    # The backend's models may load after this one, and have their own warm-up.
    if options.engine == "in-process":
        for batch_size in warm_up.batch_sizes(options.max_batch_size):
            sample = config.model_warmup.add(name=f"{batch_size} texts", batch_size=batch_size)
            data = sample.Input(
                data_type=pb.TYPE_STRING, dims=[1], input_data_file=warm_up.TEXT_FILE
            )
            sample.inputs["text"].CopyFrom(data)
    return config


def to_text(config: ModelConfig) -> str:
    """Format a `ModelConfig` for config.pbtxt."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))


def _batch(config: ModelConfig, options: RepositoryOptions) -> None:
    sizes = sorted(set(options.preferred_batch_sizes))
    config.dynamic_batching.preferred_batch_size.extend(sizes)
    config.dynamic_batching.max_queue_delay_microseconds = options.max_queue_delay_us


def _use_migraphx(
    config: ModelConfig, model: LevelModel, options: RepositoryOptions, digest: str
) -> None:
    """Select AMD's accelerator with parameters that all of AMD's backends accept."""
    accelerators = config.optimization.execution_accelerators
    accelerator = accelerators.gpu_execution_accelerator.add(name="migraphx")
    accelerator.parameters["migraphx_max_dynamic_batch"] = str(model.max_batch_size)
    if options.programs is not None:
        # MIGraphX keys programs by the graph's file name, not its weights: one folder per model.
        folder = options.programs / digest[:16] / model.name
        accelerator.parameters["migraphx_model_cache_dir"] = str(folder)


def _levels(layout: RepositoryLayout) -> dict[str, list[dict[str, Any]]]:
    """List each level's models in the ONNX Runtime backend."""
    return {
        level: [
            {"model": m.name, "tokens": m.tokens, "max_batch_size": m.max_batch_size}
            for m in layout.levels
            if m.level == level
        ]
        for level in dict.fromkeys(model.level for model in layout.levels)
    }
