"""Labels come from the files: every dialect is read, and a disagreement is shown as a table."""

import json
from pathlib import Path

import pytest

from hazgate_export.errors import SourceError
from hazgate_export.model.labels import NamedLabels, read_labels, settle_labels
from tests.support.adapters import fetched

GUARD = {"benign": 0, "jailbreak": 1}
REVERSE = {"0": "benign", "1": "jailbreak"}


def _write(folder: Path, **files: object) -> None:
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


def _read(folder: Path) -> dict[str, tuple[str, ...]]:
    return {one.source: one.labels for one in read_labels(fetched(folder, "test/m"))}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("label_mapping", ("label_to_id", "id_to_label")),
        ("label_mapping", ("category_to_idx", "idx_to_category")),
        ("label_mapping", ("label_to_idx", "idx_to_label")),
        ("label_mapping", ("label2id", "id2label")),
        ("jailbreak_type_mapping", ("label_to_idx", "idx_to_label")),
        ("category_mapping", ("category_to_idx", "idx_to_category")),
        ("fact_check_mapping", ("label_to_idx", "idx_to_label")),
        ("pii_type_mapping", ("label_to_idx", "idx_to_label")),
    ],
)
def test_each_dialect_and_each_twin_is_read(
    tmp_path: Path, name: str, keys: tuple[str, str]
) -> None:
    _write(tmp_path, **{name: {keys[0]: GUARD, keys[1]: REVERSE}})
    assert _read(tmp_path) == {
        f"{name}.json: {keys[0]}": ("benign", "jailbreak"),
        f"{name}.json: {keys[1]}": ("benign", "jailbreak"),
    }


def test_the_form_of_vela_has_both_spellings_and_that_of_the_pair_a_taxonomy(
    tmp_path: Path,
) -> None:
    vela = {"label2id": GUARD, "id2label": REVERSE, "label_to_idx": GUARD, "idx_to_label": REVERSE}
    _write(tmp_path, label_mapping=vela)
    assert set(_read(tmp_path).values()) == {("benign", "jailbreak")}
    assert len(_read(tmp_path)) == 4
    _write(tmp_path, label_mapping={"label2id": GUARD, "taxonomy_version": "legacy-9-v1"})
    assert list(_read(tmp_path)) == ["label_mapping.json: label2id"]


def test_a_map_of_labels_alone_is_read(tmp_path: Path) -> None:
    _write(tmp_path, label_mapping={"AR": 0, "DIFFUSION": 1, "BOTH": 2})
    assert set(_read(tmp_path).values()) == {("AR", "DIFFUSION", "BOTH")}


def test_the_order_is_that_of_the_numbers_and_not_of_the_file(tmp_path: Path) -> None:
    _write(tmp_path, label_mapping={"label_to_id": {"jailbreak": 1, "benign": 0}})
    assert set(_read(tmp_path).values()) == {("benign", "jailbreak")}
    many = {f"L{i}": i for i in reversed(range(12))}
    _write(tmp_path, label_mapping={"id_to_label": {str(i): name for name, i in many.items()}})
    assert set(_read(tmp_path).values()) == {tuple(f"L{i}" for i in range(12))}


def test_configurations_are_read_and_their_defaults_are_no_names(tmp_path: Path) -> None:
    _write(
        tmp_path,
        config={"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"safe": 0, "unsafe": 1}},
        adapter_config={"r": 4, "id2label": {"0": "safe", "1": "unsafe"}},
    )
    assert _read(tmp_path) == {
        "adapter_config.json: id2label": ("safe", "unsafe"),
        "config.json: label2id": ("safe", "unsafe"),
    }


def test_lora_config_is_never_a_source(tmp_path: Path) -> None:
    _write(tmp_path, lora_config={"id2label": {"0": "wrong", "1": "right"}, "rank": 8})
    assert _read(tmp_path) == {}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"classes": ["benign", "jailbreak"]}, ["got the keys classes"]),
        ({"label_to_id": GUARD, "threshold": 0.4}, ["label_to_id, threshold"]),
        ({}, ["got the keys none"]),
        ({"label_to_id": ["benign"]}, ["label_to_id: expected an object of labels to numbers"]),
        ({"id_to_label": {"0": 1}}, ["id_to_label: expected an object of numbers to labels"]),
        ({"id_to_label": {"00": "a"}}, ["id_to_label: expected"]),
        ({"label_to_id": {"a": 1, "b": 2}}, ["numbers from 0 without gaps, got 1 a, 2 b"]),
        ({"label_to_id": {"a": 0, "b": 0}}, ["got 0 a, 0 b"]),
        ({"label_to_id": {}}, ["without gaps, got none"]),
        ({"label_to_id": {"a": True}}, ["labels to numbers"]),
        ({"id_to_label": {"0": "a", "1": "a"}}, ["expected different labels, got a, a"]),
        ({"id_to_label": {"0": "LABEL_0", "1": "unsafe"}}, ["names only some outputs"]),
    ],
)
def test_another_form_is_refused_by_its_keys(
    tmp_path: Path, table: object, words: list[str]
) -> None:
    _write(tmp_path, label_mapping=table)
    with pytest.raises(SourceError) as caught:
        _read(tmp_path)
    for word in ("test/m", "label_mapping.json", *words):
        assert word in str(caught.value)


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    _write(tmp_path, label_mapping={"x": "y"}, category_mapping={"z": "y"}, config={"id2label": 3})
    with pytest.raises(SourceError) as caught:
        _read(tmp_path)
    for name in ("label_mapping.json", "category_mapping.json", "config.json: id2label"):
        assert name in str(caught.value)


def test_of_a_head_that_levels_share_only_a_levels_columns_are_read(tmp_path: Path) -> None:
    wide = {"0": "safe", "1": "unsafe", "2": "none", "3": "LABEL_3", "4": "none", "5": "mail"}
    _write(tmp_path, config={"id2label": wide})
    source = fetched(tmp_path, "test/m")
    (first,) = read_labels(source, slice(0, 2))
    (last,) = read_labels(source, slice(4, 6))
    assert (first.labels, first.n_outputs) == (("safe", "unsafe"), 6)
    # Two levels may have a label in common, one level may not have it twice.
    assert last.labels == ("none", "mail")
    assert read_labels(source, slice(3, 4)) == ()
    with pytest.raises(SourceError, match="names only some outputs: none, LABEL_3"):
        read_labels(source, slice(2, 4))
    with pytest.raises(SourceError, match="expected different labels"):
        read_labels(source)


def _own(*labels: str, source: str = "label_mapping.json: label2id") -> NamedLabels:
    return NamedLabels(source=source, labels=labels, n_outputs=len(labels))


def test_where_the_recipe_names_none_the_files_do() -> None:
    settled = settle_labels("l1", (), [_own("a", "b")], [], base_head=False)
    assert settled.labels == ("a", "b")
    assert settled.sources == ("label_mapping.json: label2id",)


def test_without_any_name_the_recipe_must_say_them() -> None:
    with pytest.raises(SourceError, match="write them into the level"):
        settle_labels("l1", (), [], [], base_head=False)
    settled = settle_labels("l1", ("a", "b"), [], [], base_head=False)
    assert settled.sources == ("recipe",)


def test_a_permutation_is_refused_with_both_orders() -> None:
    with pytest.raises(SourceError) as caught:
        settle_labels("level1", ("safe", "unsafe"), [_own("unsafe", "safe")], [], base_head=False)
    table = str(caught.value).splitlines()
    assert table[-5:] == [
        "  A = recipe",
        "  B = label_mapping.json: label2id",
        "  output  A       B",
        "  0       safe    unsafe",
        "  1       unsafe  safe",
    ]


def test_files_that_contradict_each_other_are_refused_without_a_recipe() -> None:
    own = [_own("a", "b"), _own("a", "b", "c", source="config.json: id2label")]
    with pytest.raises(SourceError, match=r"2       -  c"):
        settle_labels("l1", (), own, [], base_head=False)


def test_names_of_a_base_count_where_its_head_is_used_or_they_are_the_same() -> None:
    other, turned = _own("negative", "positive"), _own("unsafe", "safe")
    stated = ("safe", "unsafe")
    assert settle_labels("l1", stated, [], [other], base_head=False).sources == ("recipe",)
    with pytest.raises(SourceError, match=r"base's label_mapping\.json"):
        settle_labels("l1", stated, [], [other], base_head=True)
    with pytest.raises(SourceError, match=r"base's label_mapping\.json"):
        settle_labels("l1", stated, [], [turned], base_head=False)
    # They name the outputs of another head: not those of the adapter's.
    with pytest.raises(SourceError, match="write them into the level"):
        settle_labels("l1", (), [], [other], base_head=False)
