"""The kinds of a ModernBERT's layers and their rotary positions, in both spellings."""

import math
from collections.abc import Mapping

from hazgate_export.model.architecture import LayerType, Rotary, Yarn
from hazgate_export.model.fields import Fields

_LAYER_TYPES: tuple[LayerType, ...] = ("full_attention", "sliding_attention")
_ROPE_TYPES = ("default", "yarn")
# Names of `rope_theta` in transformers 4.
_OLD: Mapping[LayerType, str] = {
    "full_attention": "global_rope_theta",
    "sliding_attention": "local_rope_theta",
}


def read_layer_types(fields: Fields, n_layers: int) -> tuple[LayerType, ...]:
    """Read the kinds of layers: as a list, or every how many one sees the whole text."""
    counted: tuple[LayerType, ...] | None = None
    if fields.has("global_attn_every_n_layers"):
        every = fields.integer("global_attn_every_n_layers")
        counted = tuple(_LAYER_TYPES[1 if i % every else 0] for i in range(n_layers))
    stated = fields.raw("layer_types")
    if stated is None:
        if counted is None:
            fields.problem("layer_types", "expected it or global_attn_every_n_layers, got neither")
        return _LAYER_TYPES[:1] * n_layers if counted is None else counted
    every_kind = stated if isinstance(stated, list) else [None]
    kinds = tuple(kind for one in every_kind for kind in _LAYER_TYPES if kind == one)
    if len(kinds) != len(every_kind):
        fields.problem("layer_types", f"expected a list of {' and '.join(_LAYER_TYPES)}")
        return kinds or ("full_attention",)
    if len(kinds) != n_layers:
        fields.problem("layer_types", f"has {len(kinds)} layers, num_hidden_layers is {n_layers}")
    elif counted is not None and kinds != counted:
        fields.problem("layer_types", "contradicts global_attn_every_n_layers")
    return kinds


def read_rotary(
    fields: Fields, layer_types: tuple[LayerType, ...], positions: int
) -> dict[LayerType, Rotary | None]:
    """Read the rotary positions of each kind of layer, in both spellings."""
    thetas = _old_thetas(fields)
    # Transformers 4 stretches the positions of all layers alike.
    scaling = fields.table("rope_scaling")
    scaled = None if scaling is None else _read_yarn(scaling, positions)
    tables = fields.table("rope_parameters")
    found: dict[LayerType, Rotary | None] = {}
    for kind in _LAYER_TYPES:
        theta, yarn = thetas[kind], scaled
        table = None if tables is None else tables.table(kind)
        if table is not None:
            if table.has("rope_theta"):
                stated = table.number("rope_theta")
                if theta is not None and stated != theta:
                    table.problem("rope_theta", f"{stated:g} contradicts {_OLD[kind]}: {theta:g}")
                theta = stated
            yarn = _read_yarn(table, positions)
            if scaling is not None and yarn != scaled:
                table.problem("rope_type", "it and its figures contradict rope_scaling")
        if theta is not None:
            found[kind] = Rotary(theta=theta, yarn=yarn)
            continue
        found[kind] = None
        if kind in layer_types:
            fields.problem(
                f"rope_parameters.{kind}.rope_theta", f"expected it or {_OLD[kind]}, got neither"
            )
    if tables is not None:
        tables.refuse_others(f"expected only {' and '.join(_LAYER_TYPES)}")
    return found


def _old_thetas(fields: Fields) -> dict[LayerType, float | None]:
    """Read transformers 4's spelling of the bases of frequencies."""
    full = fields.number("global_rope_theta") if fields.has("global_rope_theta") else None
    local = fields.number("local_rope_theta") if fields.has("local_rope_theta") else None
    if fields.is_null("local_rope_theta"):
        # Stated as none: windows have the base of the other layers.
        local = full
    return {"full_attention": full, "sliding_attention": local}


def _read_yarn(table: Fields, positions: int) -> Yarn | None:
    """Read how rotary positions are stretched; None if they are not."""
    kind = table.choice("rope_type" if table.has("rope_type") else "type", _ROPE_TYPES, "default")
    if table.has("rope_type") and table.has("type"):
        # Transformers 4 reads the one, transformers 5 has been seen to write the other.
        table.agree("rope_type", kind, "type", table.raw("type"))
    table.only("partial_rotary_factor", 1, 1.0, reason="all of a head rotates here")
    yarn = _read_yarn_figures(table, positions) if kind == "yarn" else None
    table.refuse_others(f"not understood with rope_type {kind!r}")
    return yarn


def _read_yarn_figures(table: Fields, positions: int) -> Yarn:
    original = table.integer("original_max_position_embeddings", positions)
    factor = table.number("factor", positions / original, least=1, above=False)
    table.only("truncate", True, reason="releases of transformers read it differently")
    fast, slow = table.number("beta_fast", 32.0), table.number("beta_slow", 1.0)
    if fast < slow:
        table.problem("beta_fast", f"expected at least beta_slow, {slow:g}, got {fast:g}")
    magnitude = table.number("mscale", 0.0, above=False)
    all_dimensions = table.number("mscale_all_dim", 0.0, above=False)
    default = _magnitude(factor, 1.0)
    if magnitude and all_dimensions:
        default = _magnitude(factor, magnitude) / _magnitude(factor, all_dimensions)
    return Yarn(
        factor=factor,
        original_max_position_embeddings=original,
        beta_fast=fast,
        beta_slow=slow,
        attention_factor=table.number("attention_factor", default),
    )


def _magnitude(factor: float, scale: float) -> float:
    """Compute the paper's factor of cosines and sines."""
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
