"""The recipe of a stand-in with random weights, as text."""

from collections.abc import Mapping, Sequence

_AUTHORED = """[variants.cpu]
graph = "authored"
precision = "fp32"
parity = { max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }

[variants.cpu-int8]
graph = "authored"
precision = "int8"
int8_scheme = "static"
parity = { max_abs_logit_diff = 99.0, max_changed_share = 0.99, max_invariance_diff = 1e-6 }

"""
FUSED_VARIANT = """[variants.cpu-fused]
graph = "fused"
precision = "int8"
int8_scheme = "per_token"
parity = { max_abs_logit_diff = 99.0, max_changed_share = 0.99, max_invariance_diff = 1e-12 }

"""


def recipe_text(
    *,
    name: str,
    base_id: str,
    family: str,
    pooling: str,
    levels: Mapping[str, Sequence[str]],
    max_tokens: int,
    default_variant: str,
    int8_scheme: str,
    lengths: Sequence[int],
    authored: bool = False,
) -> str:
    """Return a recipe with its sources next to it.

    The int8 gate is wide for random weights; fp32 has the real one.

    Args:
        name: name of the bundle.
        base_id: the name that the adapters give as their base; adapters are called after it.
        family: the base's architecture.
        pooling: the tokens that its head reads.
        levels: labels of each level, with the adapter in a directory of the level's name.
        max_tokens: the served limit.
        default_variant: fp32 or int8.
        int8_scheme: dynamic or blockwise.
        lengths: token counts that parity tries.
        authored: adds the variants `cpu`, `cpu-int8` and `cpu-fused`, from graphs of our own.
    """
    tables = "\n".join(
        f'[levels.{level}]\nadapter_id = "{base_id}-{level}"\n'
        f'adapter = {{ directory = "{level}" }}\nlabels = {list(labels)}\n'
        for level, labels in levels.items()
    )
    cpu = _AUTHORED + FUSED_VARIANT if authored else ""
    return f"""schema_version = 1
name = "{name}"
description = "Random weights for tests; its verdicts mean nothing."
opset = 18
default_variant = "{default_variant}"

[base]
id = "{base_id}"
family = "{family}"
pooling = "{pooling}"
source = {{ directory = "base" }}

[tokenizer]
max_tokens = {max_tokens}
special_tokens_in_text = "text"

{tables}
[cascade]
level1 = "level1"
positive_label = "unsafe"
threshold = 0.5
threshold_source = "default"
level2 = "level2"

[variants.fp32]
precision = "fp32"
parity = {{ max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }}

[variants.int8]
precision = "int8"
int8_scheme = "{int8_scheme}"
parity = {{ max_abs_logit_diff = 99.0, max_changed_share = 0.99, max_invariance_diff = 1e-4 }}

{cpu}[parity]
lengths = {list(lengths)}
"""


def without_cascade(recipe: str, *, dropped: str) -> str:
    """Return a recipe's text without its cascade and without the level `dropped`."""
    cascade = recipe[recipe.index("[cascade]") : recipe.index("[variants.fp32]")]
    start = recipe.index(f"[levels.{dropped}]")
    level = recipe[start : recipe.index("\n[", start) + 1]
    return recipe.replace(cascade, "").replace(level, "")
