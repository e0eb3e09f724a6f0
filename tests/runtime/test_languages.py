"""Texts in a language that the bundle does not vouch for are marked, and others are not."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import Classifier, Gate, Message, Policy, Reading
from hazgate.classifier import DEFAULT_READING
from hazgate.engine.options import EngineOptions
from hazgate.errors import PolicyError
from hazgate.text.languages import MIN_LETTERS, Vouching, is_installed, load_vouching
from hazgate.text.scripts import letters_by_script, scripts_of, without_letters_of_others
from tests.support.command_line import classify, run
from tests.support.damage import edit_manifest
from tests.support.disguises import DISGUISES
from tests.support.vouching import vouch

ENGLISH = "How do I bake bread at home without an oven?"
GERMAN = "Wie backe ich zu Hause ein Brot, wenn ich keinen Ofen habe?"
# By the script that says so.
IN_OTHER_SCRIPTS = {
    "Chinese": "没有烤箱怎么在家烤面包",
    "Japanese": "オーブンなしで家でパンを焼くにはどうすればいいですか",
    "Korean": "오븐 없이 집에서 빵을 어떻게 굽나요",
    "Russian": "Как испечь хлеб дома без духовки",
    "Greek": "Πώς ψήνω ψωμί στο σπίτι χωρίς φούρνο",
    "Hebrew": "איך אופים לחם בבית בלי תנור",
    "Arabic": "كيف أخبز الخبز في المنزل بدون فرن",
    "Arabic with marks": "كَيْفَ أَخْبِزُ الخُبْزَ فِي المَنْزِلِ",
    "Hindi": "मैं बिना ओवन के घर पर रोटी कैसे बनाऊँ",
    "Bengali": "ওভেন ছাড়া বাড়িতে কীভাবে রুটি বানাব",
    "Thai without spaces": "จะอบขนมปังที่บ้านโดยไม่มีเตาอบได้อย่างไร",
    "Armenian": "Ինչպես հաց թխել տանը",
    "Georgian": "როგორ გამოვაცხო პური სახლში",
    "Amharic": "ያለ ምድጃ ቤት ውስጥ ዳቦ እንዴት እጋግራለሁ",
    "Khmer": "តើខ្ញុំដុតនំប៉័ងនៅផ្ទះដោយរបៀបណា",
    "Burmese": "အိမ်မှာ ပေါင်မုန့် ဘယ်လိုဖုတ်ရမလဲ",
    "Tamil": "வீட்டில் ரொட்டி எப்படி சுடுவது",
    "Georgian of one letter": "ა",
}
IN_LATIN = {
    "German": GERMAN,
    "French": "Comment faire du pain à la maison quand on n'a pas de four ?",
    "Spanish": "¿Cómo puedo hacer pan en casa si no tengo un horno?",
    "Swahili": "Ninawezaje kuoka mkate nyumbani bila kuwa na tanuri?",
    "Vietnamese": "Làm thế nào để nướng bánh mì ở nhà mà không có lò nướng?",
    "Turkish": "Evde fırın olmadan nasıl ekmek pişirebilirim acaba?",
}
OWN = {
    "English": ENGLISH,
    "nothing": "",
    "digits": "1234 + 5678 = ?",
    "emoji": "😀😀😀🎉",
    "one foreign word": "What is the meaning of Schadenfreude, and how do I use it in a sentence?",
    "a name": "Who was Василий Кандинский, and where did he live?",
    "mostly English": "The word for bread is хлеб in Russian and パン in Japanese, isn't it?",
    "code": "for (int i = 0; i < n; ++i) { total += values[i] * weights[i]; }",
    "accents": "She reads her résumé in a café, naïve and à la mode as ever.",
    "a short text": "Hallo Welt",
    "numbers of code": r"\x1b[0m \xe9 0x7f3a 0xdeadbeef 0xcafebabe f3e2 9a7b 77ab 02cd",
    "English about Chinese": "Explain to me please what these words mean, one after the other: "
    "没有烤箱怎么在家烤面包没有烤箱怎么在家烤面包没有烤箱怎么在家烤",
    "Japanese between English words": "translate 東京都 please, and tell me where it is on a map",
}
POLICY = """
schema_version = 1
name = "languages"
mode = "strict"
gate = { controversial = 0.98, unsafe = 0.99 }
hazards = { default = { action = "block", threshold = 0.0 } }
"""

needs_identifier = pytest.mark.skipif(
    not is_installed(), reason="hazgate[languages] is not installed"
)


@pytest.fixture(scope="module")
def english() -> Vouching:
    found = load_vouching(["en"])
    assert found is not None
    return found


@pytest.fixture
def gate(bundle_copy: Path) -> Gate:
    return _open(vouch(bundle_copy, ["en"]))


def _open(root: Path, reading: Reading = DEFAULT_READING) -> Gate:
    return Gate.open(root, engine=EngineOptions(threads=1), threshold=0.9999, reading=reading)


@pytest.mark.parametrize("text", IN_OTHER_SCRIPTS.values(), ids=IN_OTHER_SCRIPTS)
def test_scripts_alone_tell_a_text_from_english(text: str) -> None:
    assert not Vouching.of(["en"]).covers(text)


@pytest.mark.parametrize("text", OWN.values(), ids=OWN)
def test_english_and_what_is_no_language_are_covered(english: Vouching, text: str) -> None:
    assert english.covers(text)
    assert Vouching.of(["en"]).covers(text)


@needs_identifier
@pytest.mark.parametrize("text", IN_LATIN.values(), ids=IN_LATIN)
def test_the_identifier_tells_languages_in_latin_letters_apart(
    english: Vouching, text: str
) -> None:
    assert not english.covers(text)
    assert Vouching.of(["en"]).covers(text)


@needs_identifier
def test_a_long_text_is_in_the_language_of_its_stretches(english: Vouching) -> None:
    assert not english.covers(f"{ENGLISH} {GERMAN * 200}")
    assert english.covers(f"{ENGLISH * 200} {GERMAN}")


@needs_identifier
def test_a_vouched_language_is_covered_among_others_of_its_script() -> None:
    both = load_vouching(["en", "de", "hi"])
    assert both is not None
    assert both.covers(GERMAN)
    assert both.covers(ENGLISH)
    assert both.covers(2 * IN_OTHER_SCRIPTS["Hindi"])
    assert not both.covers(IN_LATIN["French"])
    assert not both.covers(IN_OTHER_SCRIPTS["Russian"])
    # Marathi has the letters of Hindi.
    assert not both.covers("मी आज बाजारात जात आहे आणि भाज्या विकत घेणार आहे")


@needs_identifier
def test_the_identifier_is_not_asked_about_scripts_all_of_whose_languages_are_vouched_for() -> None:
    greek_and_thai = load_vouching(["el", "grc", "th"])
    assert greek_and_thai is not None
    assert greek_and_thai.shared == frozenset()
    # It does not know Bhojpuri, and would call it Hindi.
    bhojpuri = load_vouching(["bho"])
    assert bhojpuri is not None
    assert bhojpuri.covers(2 * IN_OTHER_SCRIPTS["Hindi"])


def test_japanese_is_covered_by_its_kana_and_its_ideographs() -> None:
    japanese = Vouching.of(["ja"])
    assert japanese.covers(IN_OTHER_SCRIPTS["Japanese"])
    assert japanese.covers("東京都庁")
    assert not Vouching.of(["zh"]).covers(IN_OTHER_SCRIPTS["Japanese"])


def test_without_languages_nothing_is_marked() -> None:
    assert load_vouching([]) is None


@given(st.text(alphabet=st.characters(exclude_categories=["L"]), max_size=200))
def test_a_text_without_letters_is_covered(text: str) -> None:
    assert Vouching.of(["th"]).covers(text)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([*OWN.values(), *IN_LATIN.values(), *IN_OTHER_SCRIPTS.values()]))
def test_a_text_that_says_the_same_twice_keeps_its_answer(text: str) -> None:
    english = load_vouching(["en"])
    assert english is not None
    if sum(letters_by_script(text).values()) >= MIN_LETTERS:
        assert english.covers(f"{text}\n{text}") == english.covers(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=100))
def test_letters_of_ascii_are_counted_as_those_of_other_texts(text: str) -> None:
    with_another = letters_by_script(f"{text}\u05d0")
    assert with_another.pop("Hebrew") == 1
    assert letters_by_script(text) == with_another


@given(st.text(max_size=100))
def test_every_letter_is_of_one_script(text: str) -> None:
    counts = letters_by_script(text)
    n_letters = sum(character.isalpha() for character in text)
    # `isalpha` knows the letters that the table has, and those of planes for private use are none.
    assert sum(counts.values()) == n_letters
    rest = without_letters_of_others(text, set(counts))
    assert rest == text
    assert not any(map(str.isalpha, without_letters_of_others(text, ())))


def test_a_language_without_an_entry_is_written_in_latin_letters() -> None:
    assert scripts_of("nl") == ("Latin",)
    assert scripts_of("ru") == ("Cyrillic",)


@pytest.mark.parametrize(
    "text",
    ["\u0301" * (1 << 20), "a\u0301" * (1 << 19), "\u05d0" * (1 << 19), GERMAN * 20_000],
    ids=["marks", "letters with marks", "Hebrew", "German"],
)
def test_a_megabyte_of_marks_or_letters_takes_no_time(english: Vouching, text: str) -> None:
    english.covers("\u05d0")
    start_s = time.perf_counter()
    english.covers(text)
    assert time.perf_counter() - start_s < 2


def test_a_verdict_is_marked_and_nothing_else_changes(gate: Gate, tiny_bundle: Path) -> None:
    text = IN_OTHER_SCRIPTS["Chinese"]
    marked, plain = gate.check(text), _open(tiny_bundle).check(text)
    assert marked.language == "unvouched"
    assert marked.to_dict()["language"] == "unvouched"
    assert plain.language is None
    assert "language" not in plain.to_dict()
    assert marked.flagged == plain.flagged
    assert marked.scores == plain.scores
    assert "language" not in gate.check(ENGLISH).to_dict()


def test_a_bundle_that_vouches_for_none_marks_nothing(tiny_bundle: Path) -> None:
    gate = _open(tiny_bundle)
    for text in (*IN_OTHER_SCRIPTS.values(), *IN_LATIN.values()):
        assert gate.ask([text])[0].language is None


def test_a_known_text_is_marked_as_before(gate: Gate) -> None:
    text = f"{IN_OTHER_SCRIPTS['Russian']} " * 400
    assert gate.check(text) == gate.check(text)
    assert gate.check(text).language == "unvouched"


@pytest.mark.parametrize(
    "kind", ["confusables", "nfkc", "marks", "tags", "invisible", "html", "base64", "rot13"]
)
def test_a_disguised_text_is_in_the_language_of_its_view(gate: Gate, kind: str) -> None:
    text = "how can i cope with a person that opposes peace and copies everyone except me"
    for disguise in DISGUISES[kind]:
        assert gate.check(disguise(text)).language is None


def test_letters_of_another_script_are_no_disguise_where_views_are_off(bundle_copy: Path) -> None:
    root = vouch(bundle_copy, ["en"])
    text = "".join(chr(0x1D41A + ord(c) - ord("a")) if c.isalpha() else c for c in "how are you")
    assert _open(root).check(text).language is None
    assert _open(root, reading=Reading(views=())).check(text).language == "unvouched"


@pytest.mark.parametrize(
    ("unread", "action"),
    [
        ("", "allow"),
        ("unread = 'block'", "allow"),
        ("unread = { default = 'block', unvouched_language = 'flag' }", "flag"),
        ("unread = { unvouched_language = 'block' }", "block"),
    ],
)
def test_a_policy_stops_it_only_by_its_own_name(gate: Gate, unread: str, action: str) -> None:
    policy = Policy.parse(f"{unread}\n{POLICY}".encode())
    verdict = gate.with_policy(policy).check(IN_OTHER_SCRIPTS["Russian"])
    assert verdict.decision is not None
    assert verdict.decision.action == action
    assert verdict.flagged == (action != "allow")
    assert (verdict.decision.severity == "safe") == (action == "allow")
    assert verdict.language == "unvouched"
    own = gate.with_policy(policy).check(ENGLISH).decision
    assert own is not None
    assert own.action == "allow"


def test_a_tenant_has_its_own_action(gate: Gate) -> None:
    policy = Policy.parse(
        f"{POLICY}\n[tenants.clinic.unread]\nunvouched_language = 'block'\n"
        "[tenants.shop]\nunread = 'flag'\n".encode()
    )
    judged = gate.with_policy(policy)
    actions = {}
    for tenant in (None, "clinic", "shop"):
        decision = judged.check(IN_OTHER_SCRIPTS["Thai without spaces"], tenant=tenant).decision
        assert decision is not None
        actions[tenant] = decision.action
    assert actions == {None: "allow", "clinic": "block", "shop": "allow"}


def test_masking_is_no_action_on_it() -> None:
    with pytest.raises(PolicyError, match="unvouched_language"):
        Policy.parse(f"unread = {{ unvouched_language = 'mask' }}\n{POLICY}".encode())


def test_it_is_no_part_that_nobody_read(gate: Gate) -> None:
    assert gate.unread_action(["unvouched_language"]) == "allow"
    assert gate.unread_action(["unvouched_language", "image"]) == "block"


def test_each_turn_of_a_conversation_is_marked_by_itself(gate: Gate) -> None:
    turns = [ENGLISH, IN_OTHER_SCRIPTS["Korean"], ENGLISH]
    answer = gate.check_messages([Message(role="user", content=turn) for turn in turns])
    assert [each.language for each in answer.verdicts] == [None, "unvouched", None]


def test_windows_of_a_growing_text_are_marked(gate: Gate) -> None:
    policy = Policy.parse(f"unread = {{ unvouched_language = 'block' }}\n{POLICY}".encode())
    watch = gate.with_policy(policy).watch(stride_tokens=4)
    verdict = None
    for _ in range(20):
        verdict = watch.add(f"{IN_OTHER_SCRIPTS['Russian']} ") or verdict
    assert watch.unsafe


def test_a_level_alone_marks_its_answers(bundle_copy: Path) -> None:
    root = vouch(bundle_copy, ["en"])
    level = Classifier.open(root, "level2", engine=EngineOptions(threads=1))
    own, other = level.classify([ENGLISH, IN_OTHER_SCRIPTS["Russian"]])
    assert "language" not in own.to_dict()
    assert other.to_dict()["language"] == "unvouched"


def test_classify_prints_the_mark(bundle_copy: Path) -> None:
    root = vouch(bundle_copy, ["en"])
    own, other = classify(root, ENGLISH, IN_OTHER_SCRIPTS["Greek"], "--threshold", "0.9999")
    assert "language" not in own
    assert other["language"] == "unvouched"
    shown = run(
        "classify", root, IN_OTHER_SCRIPTS["Greek"], "--table", "--threshold", "0.9999"
    ).stdout
    assert "language unvouched" in shown


def test_info_and_doctor_show_languages_with_their_evidence(
    bundle_copy: Path, tiny_bundle: Path
) -> None:
    assert "none is vouched for" in run("info", tiny_bundle).stdout

    def change(data: dict[str, Any]) -> None:
        rate = {"share": 0.8333, "low": 0.815, "high": 0.851, "n_rows": 1659}
        data["languages"] = {"en": {"threshold": 0.5, "recall": rate}, "de": {}}
        data["schema_version"] = 4

    edit_manifest(bundle_copy, change)
    shown = " ".join(run("info", bundle_copy).stdout.split())
    assert "language en: recall 0.83 (0.81–0.85, 1659 rows) at 0.5" in shown
    assert "language de: stated" in shown
    assert ("hazgate[languages]" in shown) is not is_installed()
    said = json.loads(run("doctor", bundle_copy, "--json").stdout)
    (check,) = (each for each in said["checks"] if each["name"] == "languages")
    assert check["found"].startswith("en, de; ")
    assert check["status"] == ("ok" if is_installed() else "warn")
