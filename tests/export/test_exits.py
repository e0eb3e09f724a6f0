"""Early exits of a build: what is proven is served, and what is not stops the build."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hazgate import Bundle
from hazgate.engine.exit_files import open_exits
from hazgate.engine.exits import Exits
from hazgate.engine.options import ExitOptions
from hazgate.engine.session import OrtSession
from hazgate.text.batching import pad
from hazgate.text.tokenization import Tokenizer
from hazgate_export.build import Built, build
from hazgate_export.errors import ExitsUnproven, ParityMissed, RecipeError
from hazgate_export.model.sources import LocalSources
from hazgate_export.proof import exits as proof
from hazgate_export.proof.exit_texts import read_exit_texts
from hazgate_export.proof.exits import ExitGraph, check_whole_rows, prove_exits
from hazgate_export.proof.subject import Subject
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.recipe import ExitsRecipe
from hazgate_export.recipe_file import load_recipe
from hazgate_export.verify_bundle import verify_bundle
from tests.support.exit_recipes import EARLY, TEXTS, exits_table, write_exit_recipe, write_texts
from tests.support.few_texts import few_proof_texts_used
from tests.support.rehearsals import RECIPES
from tests.support.subjects import random_cases

# As tests.support.recipes spells them.
LABELS = "labels = ['safe', 'unsafe']"

pytest.importorskip("hazgate_kernels", reason="built only where there is a C++ compiler")


@pytest.fixture(scope="module")
def built(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("exits")
    with few_proof_texts_used():
        recipe = write_exit_recipe(tiny_recipe, folder)
        return build(load_recipe(recipe), folder / "bundle", LocalSources())


def _tokenizer(built: Built) -> Tokenizer:
    spec = built.bundle.manifest.levels["level1"].tokenizer
    return Tokenizer(built.bundle.file(spec.file), spec)


def _graph(built: Built) -> ExitGraph:
    """Return the built graph, as `prove_exits` takes it."""
    level = built.bundle.manifest.levels["level1"]
    spec = level.variants[EARLY]
    return ExitGraph(
        variant=EARLY,
        level="level1",
        graph=built.bundle.file(spec.graph),
        data=tuple(map(built.bundle.file, spec.data)),
        positive=1,
        pad_token_id=level.tokenizer.pad_token_id,
        sentence_margin=0.0,
    )


def test_a_bundle_states_exits_that_follow_from_its_counts(built: Built) -> None:
    manifest = built.bundle.manifest
    assert manifest.schema_version == 4
    spec = manifest.levels["level1"].variants[EARLY]
    assert spec.exits is not None
    assert spec.exits.file in manifest.files_of(EARLY)
    # Opening checks graph, weights, limits and evidence.
    opened = open_exits(built.bundle, "level1", EARLY, ExitOptions())
    assert opened is not None
    claim = opened.exits.claim
    assert claim.thresholds == (0.6, 0.65)
    assert claim.evidence[0].n_flagged > claim.evidence[1].n_flagged
    assert claim.evidence[0].share_left > 0.05
    assert manifest.levels["level1"].variants["cpu-fused"].exits is None
    # What the build reports, and a person reads who finds the bundle.
    assert built.exits == {("level1", EARLY): opened.exits}
    readme = built.bundle.file("README.md").read_text(encoding="utf-8")
    assert f"| level1 | {EARLY} | 1 | 0.6 | {claim.evidence[0].n_flagged} | " in readme


def test_the_variant_with_exits_is_measured_as_the_plain_one_and_verified_again(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, plain = (
        next(p for p in built.parities if p.variant == name) for name in (EARLY, "cpu-fused")
    )
    assert dataclasses.replace(early, variant="cpu-fused") == plain
    few = load_proof_texts()[::20]
    monkeypatch.setattr("hazgate_export.verify_bundle.load_proof_texts", lambda: few)
    again = verify_bundle(Bundle.open(built.bundle.root), None, LocalSources())
    assert [p for p in again if p.variant == EARLY] == [early]


def test_what_the_claim_counts_is_what_the_graph_lets_go(built: Built) -> None:
    bundle = built.bundle
    opened = open_exits(bundle, "level1", EARLY, ExitOptions())
    assert opened is not None
    spec = bundle.manifest.levels["level1"]
    texts = read_exit_texts([bundle.root.parent / TEXTS], _tokenizer(built), where="files")
    held_out = [window.input_ids for window in texts.windows if window.held_out]
    session = OrtSession(
        bundle.file(spec.variants[EARLY].graph),
        kind="fused",
        n_labels=2,
        threads=1,
        exits=opened.exits,
    )
    input_ids, mask = pad(held_out, spec.tokenizer.pad_token_id)
    left = session.run(input_ids, mask, np.ones(len(held_out), dtype=np.bool_))[:, -1] > 0
    whole = session.run(input_ids, mask)
    unsafe = 1 / (1 + np.exp((whole[:, 0] - whole[:, 1]).astype(np.float64)))
    for evidence in opened.exits.claim.evidence:
        flagged = unsafe >= evidence.threshold
        assert evidence.n_texts == len(held_out)
        assert evidence.n_flagged == flagged.sum()
        assert evidence.n_missed == (flagged & left).sum()
        assert evidence.share_left == pytest.approx(left.mean())


@pytest.mark.usefixtures("few_proof_texts")
def test_a_claim_that_is_not_proven_leaves_no_bundle(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutation: probes that always let go."""
    monkeypatch.setattr(proof, "limits_to_try", lambda *_: [np.array([1e30])])
    recipe = write_exit_recipe(tiny_recipe, tmp_path)
    with pytest.raises(ExitsUnproven, match="even the strictest limits"):
        build(load_recipe(recipe), tmp_path / "bundle", LocalSources())
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("few_proof_texts")
def test_a_layer_that_the_model_does_not_have_is_named(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = write_exit_recipe(tiny_recipe, tmp_path, after_layers=[1, 2])
    with pytest.raises(RecipeError, match=r"has 2 layers, expected numbers from 1 to 1"):
        build(load_recipe(recipe), tmp_path / "bundle", LocalSources())


def _prove(built: Built, **changes: object) -> Exits:
    """Prove exits of the built graph again, as the recipe asks but for some changes."""
    asked = {
        "after_layers": [1],
        "max_missed_share": 0.1,
        "thresholds": [0.6, 0.65],
        "files": [TEXTS],
        **changes,
    }
    texts = read_exit_texts([built.bundle.root.parent / TEXTS], _tokenizer(built), where="files")
    return prove_exits(_graph(built), ExitsRecipe.model_validate(asked), texts, hidden=16)


def test_the_same_texts_give_the_same_exits(built: Built) -> None:
    opened = open_exits(built.bundle, "level1", EARLY, ExitOptions())
    assert opened is not None
    assert _prove(built).limits == opened.exits.limits


@pytest.mark.parametrize(
    ("limits", "problem"), [(1e30, "other windows go"), (-1e30, "no window leaves early")]
)
def test_limits_that_the_search_should_not_have_found_are_seen_in_what_the_graph_does(
    built: Built, monkeypatch: pytest.MonkeyPatch, limits: float, problem: str
) -> None:
    """A mutation: limits are taken as proven that are not, or that let nothing go."""
    monkeypatch.setattr(proof, "loosest_proven", lambda *_: np.array([limits]))
    with pytest.raises(ExitsUnproven, match=problem):
        _prove(built)


def test_too_few_flagged_texts_prove_nothing_and_the_error_says_how_many_are_missing(
    built: Built,
) -> None:
    with pytest.raises(ExitsUnproven, match=r"needs 598 held-out.*Missing: \d+ at 0\.6, \d+ at"):
        _prove(built, max_missed_share=0.005)


def test_texts_of_too_few_groups_prove_nothing(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_FOLDS", 10_000)
    with pytest.raises(ExitsUnproven, match="expected texts of 10000 groups or more"):
        _prove(built)


def test_a_row_read_whole_whose_logits_differ_by_a_bit_is_seen(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disturbed(OrtSession):
        def run(
            self,
            input_ids: NDArray[np.int64],
            attention_mask: NDArray[np.int64],
            may_leave: NDArray[np.bool_] | None = None,
        ) -> NDArray[np.float32]:
            logits = super().run(input_ids, attention_mask, may_leave)
            if may_leave is not None and not may_leave.any():
                logits[0, 0] = np.nextafter(logits[0, 0], np.float32(9))
            return logits

    opened = open_exits(built.bundle, "level1", EARLY, ExitOptions())
    assert opened is not None
    subject = Subject(
        cases=random_cases((1, 5, 9), seed=1, vocabulary=600),
        tokenizer=built.bundle.manifest.levels["level1"].tokenizer,
        n_logits=2,
        heads=(),
    )
    plain = built.bundle.file(built.bundle.manifest.levels["level1"].variants["cpu-fused"].graph)
    check_whole_rows(subject, plain, _graph(built), opened.exits)
    monkeypatch.setattr(proof, "OrtSession", Disturbed)
    with pytest.raises(ParityMissed, match="1 rows that were read whole have other logits"):
        check_whole_rows(subject, plain, _graph(built), opened.exits)


def test_a_file_of_texts_that_is_none_is_named(built: Built, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text('{"text": "a", "group": 3}\n', encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"(?s)exits\.files: .*expected group to be a string, got int"
    ):
        read_exit_texts([tmp_path / "none.jsonl"], _tokenizer(built), where="exits.files")


def test_a_text_in_two_files_is_one_window_and_a_group_is_on_one_side(
    built: Built, tmp_path: Path
) -> None:
    tokenizer = _tokenizer(built)
    write_texts(tmp_path / "a.jsonl", n=60)
    write_texts(tmp_path / "b.jsonl", n=60)
    one = read_exit_texts([tmp_path / "a.jsonl"], tokenizer, where="files")
    both = read_exit_texts([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tokenizer, where="files")
    assert both.windows == one.windows
    assert both.sha256 != one.sha256
    sides: dict[str, set[bool]] = {}
    for window in one.windows:
        sides.setdefault(window.group, set()).add(window.held_out)
    assert all(len(side) == 1 for side in sides.values())
    assert {True, False} == {side for each in sides.values() for side in each}


def test_texts_without_a_group_are_groups_of_their_own_and_long_ones_have_several_windows(
    built: Built, tmp_path: Path
) -> None:
    tokenizer = _tokenizer(built)
    long = " ".join(f"river {i}" for i in range(60))
    file = tmp_path / "texts.jsonl"
    file.write_text(json.dumps({"text": long}) + "\n" + json.dumps({"text": "yes"}) + "\n")
    windows = read_exit_texts([file], tokenizer, where="files").windows
    assert len(windows) > 3
    assert {window.group for window in windows} == {long, "yes"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"after_layers": [2, 1]}, r"exits\.after_layers: expected rising numbers"),
        ({"thresholds": [0.5, 0.5]}, r"exits\.thresholds: expected rising numbers"),
        ({"thresholds": []}, r"exits\.thresholds"),
        ({"files": []}, r"exits\.files"),
        ({"confidence": 1.0}, r"exits\.confidence"),
        ({"max_missed_share": 0.0}, r"exits\.max_missed_share"),
        ({"after_layers": [0]}, r"exits\.after_layers"),
        ({"surely": True}, r"exits\.surely"),
    ],
)
def test_a_wrong_field_of_exits_is_named(
    tiny_recipe: Path, tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    recipe = write_exit_recipe(tiny_recipe, tmp_path, **change)
    with pytest.raises(RecipeError, match=problem):
        load_recipe(recipe)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (LABELS, "labels = ['safe', 'unsafe', 'odd']", "labels: .* got 3"),
        (LABELS, "columns = [0, 2]", "columns: early exits are for a level"),
        (
            LABELS,
            f'{LABELS}\nactivation = "sigmoid"',
            "activation: early exits are for two labels",
        ),
        (
            f'[variants.{EARLY}]\ngraph = "fused"',
            f'[variants.{EARLY}]\ngraph = "authored"',
            "go with",
        ),
        ('default_variant = "fp32"', f'default_variant = "{EARLY}"', "are asked for by name"),
        ("positive = {", "# positive = {", "no level has a `positive` label"),
        ("max_abs_logit_diff = 99.0", "max_abs_logit_diff = 98.0", "expected another variant"),
    ],
)
def test_a_recipe_whose_level_or_variant_cannot_have_exits_is_refused(
    tiny_recipe: Path, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    recipe = write_exit_recipe(tiny_recipe, tmp_path)
    text = recipe.read_text(encoding="utf-8")
    assert old in text
    # The first variant with it is the plain one.
    recipe.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=problem):
        load_recipe(recipe)


def test_levels_that_share_a_body_have_no_exits(tmp_path: Path) -> None:
    text = (RECIPES / "panel.toml").read_text(encoding="utf-8")
    early = exits_table().replace("[variants.cpu", "[variants.x")
    file = tmp_path / "panel.toml"
    file.write_text(text.replace("[parity]", f"{early}[parity]", 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"levels\.level1\.columns: early exits are for a level"):
        load_recipe(file)
