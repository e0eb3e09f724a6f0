"""Early exits of a bundle's graphs: proven, and written as probe files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.manifest import ExitsSpec
from hazgate.engine.exits import Exits
from hazgate.text.tokenization import Tokenizer
from hazgate_export.bundle.describe import ExportedBody
from hazgate_export.graphs.weights import WrittenGraph
from hazgate_export.proof.exit_texts import read_exit_texts
from hazgate_export.proof.exits import ExitGraph, check_whole_rows, prove_exits
from hazgate_export.recipe import LoadedRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenExits:
    """The early exits of a level's variant, and the manifest's entry for their file."""

    exits: Exits
    spec: ExitsSpec


def write_exits(
    loaded: LoadedRecipe,
    bodies: Sequence[ExportedBody],
    written: Mapping[str, WrittenGraph],
    root: Path,
) -> dict[tuple[str, str], WrittenExits]:
    """Prove the early exits that the recipe asks for, and write a probe file for each.

    Args:
        loaded: the settled recipe.
        bodies: the exported bodies of all levels.
        written: the graphs in the bundle, by "BODY-VARIANT".
        root: the bundle's folder.

    Returns:
        The exits by the names of level and variant.

    Raises:
        ExitsUnproven: a claim is not proven.
        ParityMissed: a row that is read whole has other logits than the graph without exits.
        RecipeError: a file of texts is none.
    """
    recipe = loaded.recipe
    body_of = {body.name: body for body in bodies}
    return {
        (level, variant): _write(loaded, body_of[level], variant, written, root)
        for variant, settings in recipe.variants.items()
        if settings.exits is not None
        for level in recipe.exit_levels()
    }


def _write(
    loaded: LoadedRecipe,
    body: ExportedBody,
    variant: str,
    written: Mapping[str, WrittenGraph],
    root: Path,
) -> WrittenExits:
    recipe, level, tokenizer = loaded.recipe, body.name, body.subject.tokenizer
    asked, twin = recipe.variants[variant].exits, recipe.twin_of(variant)
    positive = recipe.positive_of(level)
    assert asked is not None
    assert twin is not None, "the recipe's checks ask for one"
    assert positive is not None, "the recipe's checks ask for one"
    own = written[f"{level}-{variant}"]
    graph = ExitGraph(
        variant=variant,
        level=level,
        graph=root / own.graph,
        data=tuple(root / name for name in own.data),
        positive=recipe.levels[level].labels.index(positive.label),
        pad_token_id=tokenizer.pad_token_id,
        sentence_margin=tokenizer.sentence_margin or 0.0,
    )
    texts = read_exit_texts(
        [loaded.folder / file for file in asked.files],
        Tokenizer(root / tokenizer.file, tokenizer),
        where=f"variants.{variant}.exits.files",
    )
    exits = prove_exits(graph, asked, texts, hidden=body.architecture.hidden_size)
    check_whole_rows(body.subject, root / written[f"{level}-{twin}"].graph, graph, exits)
    file = f"{level}-{variant}-exits.json"
    (root / file).write_bytes(exits.dump())
    return WrittenExits(exits=exits, spec=ExitsSpec(file=file, after_layers=exits.after_layers))
