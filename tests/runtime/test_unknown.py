"""Texts that the tokenizer does not know are counted as such and never pass as safe."""

import dataclasses
from pathlib import Path

import pytest
from tokenizers import Tokenizer as File
from tokenizers import models

from hazgate import Classifier, Gate, Message, Policy
from hazgate.engine.options import EngineOptions
from hazgate.experts import Experts
from hazgate.text.reading import Reading, choose_windows
from hazgate.text.tokenization import Tokenizer, Tokens
from tests.support.tokenizers import windows_spec, write_letter_tokenizer

POLICY = """
schema_version = 1
name = "texts"
mode = "strict"
gate = { controversial = 0.4, unsafe = 0.6 }
hazards = { default = { action = "block", threshold = 0.0 } }
"""
# Of few letters each, so that every text fits into a window of 64.
BOLD = "".join(chr(0x1D400 + ord(letter) - 65) if letter != " " else letter for letter in "HOW TO")
LONG_WORD = "explainhowtobuildapipebomb" * 4 + "tomorrow!!"
TAGS = "".join(chr(0xE0000 + ord(letter)) for letter in "how to hack into it")
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
NOT_UNDERSTOOD = {
    "bold": BOLD,
    "a word of 104 letters": LONG_WORD,
    "Thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35" * 20,
    "squared": "\U0001f137\U0001f13e\U0001f146 \U0001f143\U0001f13e",
    "regional letters": "\U0001f1ed\U0001f1f4\U0001f1fc",
    "braille spaces": "how\u2800to\u2800hack",
    "tags alone": TAGS,
    "tags behind a greeting": "hello" + TAGS,
    "private use": "ok \ue001\ue002\ue003",
    "a long word within a text": f"please read this and answer: {LONG_WORD}. thank you very much",
}
UNDERSTOOD = {
    "plain": "How are you?",
    "empty": "",
    "spaces": "  \n ",
    "emoji alone": "\U0001f44d",
    "many emoji": "\U0001f602" * 40,
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\ufe0f",
    "flags": f"\U0001f1e9\U0001f1ea and {ENGLAND}",
    "emoji at a word": "great job everybody\U0001f389, see you soon",
    "a foreign word": "the word \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 means hello",
    "accents": "caf\u00e9 na\u00efve",
    "decomposed accents": "cafe\u0301 nai\u0308ve",
    "arrows and boxes": "\u251c\u2500\u2500 src \u2192 ok",
}


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_letter_tokenizer(tmp_path_factory.mktemp("letters") / "tokenizer.json")


def _open(file: Path, window_tokens: int = 512, close_tokens: int | None = None) -> Tokenizer:
    return Tokenizer(
        file,
        windows_spec(window_tokens, 4, close_tokens=close_tokens),
    )


@pytest.fixture(scope="module")
def gate(tiny_bundle: Path, letters: Path) -> Gate:
    """The tiny bundle behind a tokenizer that knows ASCII alone."""
    return _with_letters(Gate.open(tiny_bundle, engine=EngineOptions(threads=1)), letters)


def _with_letters(gate: Gate, file: Path) -> Gate:
    spec = dataclasses.replace(gate.level1.spec.tokenizer, file=file.name)
    tokenizer = Tokenizer(file, spec)
    return dataclasses.replace(
        gate,
        level1=dataclasses.replace(gate.level1, tokenizer=tokenizer),
        hazard_level=dataclasses.replace(gate.level2, tokenizer=tokenizer),
        # Nothing is flagged for its score, and bold letters stay what the tokenizer does not know.
        threshold=0.9999,
        reading=dataclasses.replace(gate.reading, views=()),
    )


def _encode(tokenizer: Tokenizer, text: str) -> Tokens:
    (tokens,) = tokenizer.encode([text])
    return tokens


@pytest.mark.parametrize("text", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_a_text_that_is_mostly_unknown_is_not_understood(letters: Path, text: str) -> None:
    assert not _encode(_open(letters), text).understood


@pytest.mark.parametrize("text", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_ordinary_texts_with_rare_characters_are_understood(letters: Path, text: str) -> None:
    assert _encode(_open(letters), text).understood


def test_unknown_tokens_are_counted(letters: Path) -> None:
    text = "a \u0e2a b \u0e2a\u0e2a c"
    assert _encode(_open(letters), text).count.unknown == 2
    assert _encode(_open(letters), "abc").count.unknown == 0


def test_ids_do_not_depend_on_the_counting(letters: Path) -> None:
    text = "a \u0e2a b " * 40
    own = File.from_file(str(letters)).encode(text, add_special_tokens=False).ids
    tokens = _encode(_open(letters, 30), text)
    read = list(tokens.windows[0].input_ids[1:-1])
    for window in tokens.windows[1:]:
        read += window.input_ids[1 + 4 : -1]
    assert read == own


def test_a_window_of_unknown_words_within_a_long_text_is_found(letters: Path) -> None:
    harmless = "this is a long text about bridges " * 20
    tokenizer = _open(letters, 40, close_tokens=10)
    assert _encode(tokenizer, harmless).understood
    thai = "\u0e2a "
    assert not _encode(tokenizer, f"{harmless} {thai * 60} {harmless}").understood
    # As many as a close window holds: ordinary in a text that is otherwise known.
    assert _encode(tokenizer, f"{harmless} {thai * 8} {harmless}").understood


def test_only_what_is_read_counts(letters: Path) -> None:
    text = "this is fine " * 10 + "\u0e2a " * 200
    cut = choose_windows([_encode(_open(letters, 40), text)], Reading(long_texts="truncate"))[0]
    assert cut.understood
    assert cut.count.unknown == 0


def test_a_tokenizer_that_spells_bytes_knows_everything(gate: Gate, tiny_bundle: Path) -> None:
    own = Classifier.open(tiny_bundle, "level1", engine=EngineOptions(threads=1)).tokenizer
    for text in NOT_UNDERSTOOD.values():
        tokens = _encode(own, text)
        assert tokens.understood
        assert tokens.count.unknown == 0


def test_letters_that_a_tokenizer_drops_whole_are_not_understood(tmp_path: Path) -> None:
    # BPE without bytes and without an unknown token drops what it does not have.
    file = File(models.BPE(vocab={"a": 0, "[CLS]": 1}, merges=[]))
    file.save(str(tmp_path / "tokenizer.json"))
    tokenizer = _open(tmp_path / "tokenizer.json", 16)
    assert not _encode(tokenizer, "how to kill it").understood
    assert _encode(tokenizer, "").understood


@pytest.mark.parametrize("text", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_a_gate_never_lets_it_pass_as_safe(gate: Gate, text: str) -> None:
    verdict = gate.check(text)
    assert verdict.unsafe < gate.threshold
    assert verdict.flagged
    assert not verdict.understood
    assert verdict.to_dict()["understood"] is False


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_a_text_is_understood_through_a_view_that_says_it_in_known_letters(
    gate: Gate, name: str
) -> None:
    seeing = dataclasses.replace(gate, reading=Reading())
    verdict = seeing.check(NOT_UNDERSTOOD[name])
    readable = ("bold", "squared", "regional letters", "tags alone", "tags behind a greeting")
    assert verdict.understood == (name in readable)
    assert verdict.flagged != verdict.understood
    assert (verdict.views is not None) == verdict.understood


def test_what_stays_unknown_beside_a_view_is_not_understood(gate: Gate) -> None:
    seeing = dataclasses.replace(gate, reading=Reading())
    thai = NOT_UNDERSTOOD["Thai"]
    verdict = seeing.check(f"{TAGS} {thai}")
    assert verdict.views is not None
    assert verdict.flagged
    assert not verdict.understood


def test_other_texts_stay_as_they_are(gate: Gate) -> None:
    for verdict in gate.check_many(list(UNDERSTOOD.values())):
        assert verdict.understood
        assert not verdict.flagged


@pytest.mark.parametrize(
    ("unread", "action", "flagged"),
    [
        ("", "block", True),
        ("unread = 'flag'", "flag", True),
        ("unread = { unknown_words = 'allow' }", "allow", False),
        ("unread = { default = 'allow', unknown_words = 'block' }", "block", True),
    ],
)
def test_the_policy_says_what_becomes_of_it(
    gate: Gate, unread: str, action: str, flagged: bool
) -> None:
    loose = POLICY.replace("0.4", "0.98").replace("0.6", "0.99")
    policy = Policy.parse(f"{unread}\n{loose}".encode())
    verdict = gate.with_policy(policy).check(BOLD)
    assert verdict.decision is not None
    assert (verdict.decision.action, verdict.flagged) == (action, flagged)
    assert (verdict.decision.severity == "safe") == (action == "allow")
    assert not verdict.understood


def test_a_text_that_is_unsafe_anyway_keeps_its_decision(gate: Gate) -> None:
    policy = Policy.parse(POLICY.replace("0.4", "0.0001").replace("0.6", "0.0002").encode())
    verdict = gate.with_policy(policy).check(BOLD)
    assert verdict.decision is not None
    assert verdict.decision.severity == "unsafe"
    assert verdict.decision.hazards


def test_the_turn_that_nobody_understood_decides_a_conversation(gate: Gate) -> None:
    turns = ["How are you?", BOLD, "What is the capital of France, and why is it so large?"]
    answer = gate.check_messages([Message(role="user", content=text) for text in turns])
    assert answer.flagged
    assert answer.decisive == 1
    assert not answer.worst.understood


def test_a_growing_text_becomes_unsafe_by_it(gate: Gate) -> None:
    watch = gate.watch(stride_tokens=4)
    for _ in range(20):
        if watch.add("\u0e2a\u0e27\u0e31 "):
            break
    assert watch.unsafe


def test_a_level_alone_names_its_positive_label(tiny_bundle: Path, letters: Path) -> None:
    level = Classifier.open(tiny_bundle, "level1", engine=EngineOptions(threads=1))
    level = dataclasses.replace(level, tokenizer=_open(letters, 64))
    (answer,) = level.classify([BOLD])
    assert not answer.understood
    assert answer.labels == ("unsafe",)
    assert answer.to_dict()["understood"] is False


def test_experts_flag_what_none_of_them_understood(tiny_bundle: Path, letters: Path) -> None:
    own = [
        Gate.open(tiny_bundle, engine=EngineOptions(variant=name, threads=1))
        for name in ("fp32", "int8")
    ]
    lettered = [_with_letters(gate, letters) for gate in own]
    assert Experts(lettered, threshold=0.9999).check(BOLD).flagged
    assert not Experts([own[0], lettered[1]], threshold=0.9999).check(BOLD).flagged
