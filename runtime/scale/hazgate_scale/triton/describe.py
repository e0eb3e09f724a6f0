"""Descriptions of a repository, for programs and for people."""

import importlib.metadata
from typing import Any

import hazgate
from hazgate.bundle.bundle import Bundle
from hazgate_scale import __version__
from hazgate_scale.triton.layout import DECIDES, RepositoryLayout
from hazgate_scale.triton.options import RepositoryOptions

FACTS_FILE = "hazgate.json"
README_FILE = "README.md"


def facts(bundle: Bundle, layout: RepositoryLayout, options: RepositoryOptions) -> dict[str, Any]:
    """Collect a repository's provenance and models."""
    return {
        "schema_version": 1,
        "bundle": {"name": bundle.manifest.name, "digest": bundle.digest},
        "variant": layout.variant,
        "provider": layout.provider.name,
        "engine": options.engine,
        "models": {
            DECIDES: {"backend": "python", "max_batch_size": options.max_batch_size},
            **{
                model.name: {
                    "backend": "onnxruntime",
                    "level": model.level,
                    "labels": list(model.spec.labels),
                    "batching": model.variant.batching,
                    "tokens": model.tokens,
                    "max_batch_size": model.max_batch_size,
                }
                for model in layout.levels
            },
        },
        "versions": {
            "hazgate": hazgate.__version__,
            "hazgate-scale": __version__,
            "tritonclient": importlib.metadata.version("tritonclient"),
        },
    }


def readme(bundle: Bundle, layout: RepositoryLayout, options: RepositoryOptions) -> str:
    """Write the repository's README."""
    names = ", ".join(f"`{model.name}`" for model in layout.levels)
    if options.engine == "in-process":
        loads = [DECIDES]
        who, needs = "its own process runs the graphs", " and one onnxruntime"
    else:
        loads = [*(model.name for model in layout.levels), DECIDES]
        who, needs = "it asks the levels for logits", ""
    load = " ".join(f"--load-model={name}" for name in loads)
    return f"""# Triton model repository of {bundle.manifest.name}

Written by `hazgate triton` (hazgate-scale {__version__}) from the bundle with digest
`{bundle.digest}`, variant `{layout.variant}`, for {layout.provider.name}.

- `{DECIDES}` (Python backend): texts in, verdicts out; {who}. The server's Python needs
  `hazgate` {hazgate.__version__}{needs}.
- {names} (ONNX Runtime backend): `input_ids` and `attention_mask` in, `logits` out.

    tritonserver --model-repository=. --model-control-mode=explicit {load}

Equal files are hard links: copy with `rsync -aH` or `tar` to keep them so. Do not change files: the
model opens only the bundle with that digest.
"""
