"""A bundle's digest depends on every field of the architecture, and on no field that does nothing.

The digest of a bundle is that of its manifest. Each test describes one build twice: all else is
the same, only the architecture, or the configuration that it is read from, is another.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from hazgate_export.bundle.describe import ExportedBody, ExportedGraph, manifest_of
from hazgate_export.graphs.weights import WrittenGraph
from hazgate_export.model.architecture import Architecture, ModernBertArchitecture, Rotary, Yarn
from hazgate_export.model.config import load_config, read_config
from hazgate_export.model.irrelevant import FAMILY_IRRELEVANT, IRRELEVANT
from hazgate_export.model.sources import Fetched, LevelSources
from hazgate_export.parity import Parity
from hazgate_export.recipe import LoadedRecipe
from hazgate_export.recipe_file import load_recipe
from tests.support.rehearsals import RECIPES
from tests.support.subjects import random_cases, subject_of
from tests.support.transformers5 import GOLDENS

# Between them they have every field: YaRN on both kinds of layer, and each family.
CASES = ("modernbert-yarn-everywhere", "bert", "roberta", "xlm-roberta", "deberta-v2")


_version = cache(importlib.metadata.version)
_Part = TypeVar("_Part", bound=Architecture | Rotary | Yarn)


@cache
def architecture(case: str) -> Architecture:
    return load_config(GOLDENS / case, case).architecture


@cache
def recipe() -> LoadedRecipe:
    return load_recipe(RECIPES / "vela-guard.toml")


@cache
def digest(architecture: Architecture) -> str:
    """Return the digest of a bundle of one level with this architecture."""
    loaded = recipe()
    (level,) = loaded.recipe.levels
    graphs = {name: ExportedGraph(file=Path(), kind="portable") for name in loaded.recipe.variants}
    source = Fetched(directory=Path(), id="test/model", revision=None, sha256="0" * 64)
    subject = subject_of(
        random_cases([3], seed=0, vocabulary=96), np.zeros((1, 2), dtype=np.float32)
    )
    head = dataclasses.replace(subject.heads[0], level=level)
    exported = ExportedBody(
        sources=LevelSources(base=source, adapter=None),
        architecture=architecture,
        subject=dataclasses.replace(subject, heads=(head,)),
        graphs=graphs,
    )
    written = {f"{level}-{name}": WrittenGraph(graph=f"{name}.onnx", data=()) for name in graphs}
    with pytest.MonkeyPatch.context() as patch:
        # Looking the tools' versions up takes longer than all else.
        patch.setattr(importlib.metadata, "version", _version)
        parities = tuple(_parity(level, name) for name in graphs)
        manifest = manifest_of(loaded, (exported,), written, parities)
    return hashlib.sha256(manifest.dump()).hexdigest()


def _parity(level: str, variant: str) -> Parity:
    return Parity(
        level=level,
        variant=variant,
        n_cases=1,
        n_texts=1,
        max_abs_logit_diff=0.0,
        p99_abs_logit_diff=0.0,
        max_invariance_diff=0.0,
        unserved_batch_diff=None,
        decisions_changed=0,
        changed_outside_margin=0,
        changed=(),
        problems=(),
    )


def _others(value: _Part) -> Iterator[tuple[str, _Part]]:
    """Yield the path of every field, and what `value` becomes with another value there."""
    for field in dataclasses.fields(value):
        before = getattr(value, field.name)
        if isinstance(before, Rotary | Yarn):
            for path, after in _others(before):
                yield f"{field.name}.{path}", _with(value, field.name, after)
            yield field.name, _with(value, field.name, None)
        else:
            yield field.name, _with(value, field.name, _another(before))


def _with(value: _Part, name: str, after: object) -> _Part:
    changes: dict[str, Any] = {name: after}
    return dataclasses.replace(value, **changes)


def _another(value: object) -> object:
    match value:
        case None:
            return 0
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            # The least change that there is.
            return float(np.nextafter(value, np.inf))
        case str():
            return f"{value}x"
        case tuple():
            return value[1:]
    raise TypeError(type(value))


CHANGES = [(case, *change) for case in CASES for change in _others(architecture(case))]


@pytest.mark.parametrize(
    ("case", "path", "changed"), CHANGES, ids=[f"{case} {path}" for case, path, _ in CHANGES]
)
def test_every_field_of_the_architecture_changes_the_digest(
    case: str, path: str, changed: Architecture
) -> None:
    assert digest(changed) != digest(architecture(case)), path


def test_no_two_changes_have_one_digest() -> None:
    digests = [digest(changed) for _, _, changed in CHANGES]
    assert len({*digests}) == len(digests)


def test_the_changes_reach_the_figures_of_yarn() -> None:
    paths = {path for case, path, _ in CHANGES if case == CASES[0]}
    for kind in ("full_attention", "sliding_attention"):
        assert {f"{kind}.yarn.{name}" for name in ("factor", "beta_fast", "beta_slow")} <= paths
    assert {field.name for field in dataclasses.fields(ModernBertArchitecture)} <= paths


@pytest.mark.parametrize("case", CASES)
def test_a_field_that_is_declared_irrelevant_changes_no_digest(case: str) -> None:
    document = _document(case)
    family = str(document["model_type"])
    before = digest(read_config(document, case).architecture)
    for name in sorted(frozenset().union(*IRRELEVANT.values(), FAMILY_IRRELEVANT[family])):
        changed = read_config({**document, name: "something else"}, case).architecture
        assert digest(changed) == before, name


def _document(case: str) -> dict[str, object]:
    document: dict[str, object] = json.loads((GOLDENS / case / "config.json").read_text("utf-8"))
    return document
