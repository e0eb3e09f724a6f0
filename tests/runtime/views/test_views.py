"""Views: a disguised text as a person reads it, with its places in the text as written."""

import base64
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hazgate.text.views.kinds import KINDS
from hazgate.text.views.names import NAMES
from hazgate.text.views.scan import scan_of
from hazgate.text.views.views import MAX_VIEWS, View, views_of
from tests.support.disguises import DISGUISES

TEXT = "tell me how to make a great cake at home without an oven"
PLAIN = {
    "English": "Please tell me when the next train to Berlin leaves, and how long it takes. Thanks!",  # noqa: E501
    "code": "def f(x1, y2):\n    return {'a': x1[0] + int32(y2), \"b\": utf8.decode(x1 << 2)}  # O(n^2)\n",  # noqa: E501
    "address": "See https://example.org/a/b?id=12&page=3%2F4#top and mail to me@example.org.",
    "digests": f"{hashlib.sha1(b'a').hexdigest()} {hashlib.sha256(b'b').hexdigest()} {uuid.UUID(int=7)}",  # noqa: E501
    "image": base64.b64encode(b"\x89PNG\r\n\x1a\n" + hashlib.sha512(b"c").digest() * 9).decode(),
    "key": "ssh-ed25519 " + base64.b64encode(hashlib.sha512(b"k").digest()).decode() + " me@host",
    "hex dump": "00000000: 8950 4e47 0d0a 1a0a 0000 000d 4948 4452  .PNG........IHDR",
    "table": "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |\n- - - - -\n. . . . . .\n",
    "one word": "abc " * 50,
    "list": "x, y, z; a.b.c; 1.2.3.4; e.g. i.e. U.K.; 24/7; A-1; H2O; 3D; MP3; COVID-19; 10x; 1st",
    "Chinese": "请告诉我，下一班去北京的火车几点开？我在２号站台等，票价是１２３元。",
    "Japanese": "次の東京行きの電車は何時ですか？ＪＲでお願いします。",
    "Korean": "다음 부산행 기차는 언제 출발하나요?",
    "Russian": "Скажи, пожалуйста, когда идёт следующий поезд в Москву? Я сам там был.",
    "Ukrainian": "Коли відправляється наступний потяг до Києва, і скільки він іде?",
    "Greek": "Πότε φεύγει το επόμενο τρένο για την Αθήνα, παρακαλώ;",
    "Arabic": "مَتَى يُغَادِرُ القِطَارُ التَّالِي إِلَى القَاهِرَةِ؟",
    "Persian": "قطار بعدی به تهران چه زمانی می‌رود؟ می‌خواهم بدانم.",
    "Hebrew": "מָתַי יוֹצֵאת הָרַכֶּבֶת הַבָּאָה לִירוּשָׁלַיִם?",
    "Hindi": "दिल्ली के लिए अगली ट्रेन कब जाएगी? क्‍षमा कीजिए।",
    "Thai": "รถไฟขบวนต่อไปไปเชียงใหม่ออกกี่โมงครับ",
    "Vietnamese": "Chuyến tàu tiếp theo đi Hà Nội khởi hành lúc mấy giờ vậy?",
    "Vietnamese, decomposed": "Chuyê\u0301n ta\u0300u tiê\u0301p theo đi Ha\u0300 Nô\u0323i khơ\u0309i ha\u0300nh",  # noqa: E501
    "German": "Wann fährt der nächste Zug nach München, und was kostet er für Schüler?",
    "Turkish": "Ankara'ya giden bir sonraki tren saat kaçta kalkıyor, lütfen söyler misiniz?",
    "emoji": "I ❤️ trains 🚂! My family 👨‍👩‍👧 loves 🇩🇪 and 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f 1️⃣ 2️⃣",  # noqa: E501
    "maths": "Δx → 0, so α + β ≤ π² and 5 m³; see §2.1, ½ of x̄ is ŷ",
}  # fmt: skip
DISGUISED = [(kind, disguise) for kind, those in DISGUISES.items() for disguise in those]
# Whatever a str can hold, lone surrogates among it, and what disguises are made of.
ANY_TEXT = st.text(max_size=60) | st.text(
    st.sampled_from("aAbeo014@. -_=%&#;x/+|\\u\u0300\u0336\u200d\ufe0f\U000e0061\U0001d41a\uff41аро💣\ud800\n"),  # noqa: E501
    max_size=80,
)  # fmt: skip


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text)).lower()


def test_every_kind_has_its_name_and_its_disguises() -> None:
    assert tuple(kind.name for kind in KINDS) == NAMES
    assert set(DISGUISES) == set(NAMES)


@pytest.mark.parametrize(("kind", "disguise"), DISGUISED)
def test_a_disguise_is_undone_and_named(kind: str, disguise: Callable[[str], str]) -> None:
    first, *_ = views_of(disguise(TEXT), NAMES).found
    assert kind in first.name.split("+")
    assert _letters(first.text) == _letters(TEXT)


@pytest.mark.parametrize(("kind", "disguise"), DISGUISED)
def test_a_disguise_within_a_text_is_undone_there(
    kind: str, disguise: Callable[[str], str]
) -> None:
    before, after = "You are a kind helper of mine. Do this:\n", "\nThank you, and take your time."
    hidden = disguise(TEXT)
    first, *_ = views_of(before + hidden + after, NAMES).found
    assert first.text.startswith("You are a kind helper of mine. Do this:")
    assert first.text.endswith("Thank you, and take your time.")
    assert _letters(TEXT) in _letters(first.text)
    start = first.text.index("cake") if "cake" in first.text else len(before) + 1
    begin, end = first.source(start, start + 4)
    assert len(before) - 1 <= begin < end <= len(before) + len(hidden) + 1


@pytest.mark.parametrize("name", PLAIN)
def test_plain_text_has_no_view(name: str) -> None:
    assert views_of(PLAIN[name], NAMES).found == ()


@pytest.mark.parametrize("kind", NAMES)
def test_a_kind_can_be_left_out(kind: str) -> None:
    others = [name for name in NAMES if name != kind]
    for disguise in DISGUISES[kind]:
        views = views_of(disguise(TEXT), others)
        assert all(kind not in view.name.split("+") for view in views.found)
        assert views_of(disguise(TEXT), ()).found == ()


def test_disguises_in_disguises_are_undone_three_deep_and_no_deeper() -> None:
    pack: Callable[[str], str] = DISGUISES["base64"][0]
    text = TEXT
    for depth in range(1, 6):
        text = pack(text)
        views = views_of(text, NAMES)
        assert (views.found[0].text == TEXT) == (depth <= 3)
        assert ("base64" in views.left_out) == (depth > 3)


def test_several_kinds_on_one_another_are_undone_and_named_in_order() -> None:
    inner = DISGUISES["rot13"][0](TEXT)
    first, second = views_of(DISGUISES["base64"][0](inner), NAMES).found
    assert (first.name, first.text) == ("base64+rot13", TEXT)
    assert (second.name, second.text) == ("base64", inner)


def test_a_name_in_homoglyphs_stays_in_an_address() -> None:
    text = "Open https://аpple.com/login or mail to аdmin@раypal.com, my friend."
    assert views_of(text, NAMES).found == ()


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("Как сдeлать тoрт дoма", "Как сделать торт дома"),
        ("hоw tо mаke а cаke", "how to make a cake"),
        ("🇨🇦🇰🇪 for 🇩🇪", "CAKE for 🇩🇪"),
    ],
)
def test_letters_go_to_the_script_of_their_word(text: str, view: str) -> None:
    assert views_of(text, ["confusables"]).found[0].text == view


def test_places_lead_back_to_the_characters_as_written() -> None:
    text = "Say: b\u200bo\u200bl\u200bt, and " + base64.b64encode(b"tell me the way home").decode()
    (view,) = views_of(text, NAMES).found
    assert view.text == "Say: bolt, and tell me the way home"
    assert text[slice(*view.source(5, 9))] == "b\u200bo\u200bl\u200bt"
    assert text[slice(*view.source(0, 4))] == "Say:"
    blob = text.index("dG")
    assert view.source(view.text.index("way"), view.text.index("way") + 3) == (blob, len(text))
    assert not view.changes(0, 4)
    assert view.changes(5, 9)
    assert view.source(0, len(view.text)) == (0, len(text))


def _check(view: View, text: str) -> None:
    spans = [view.source(i, i + 1) for i in range(len(view.text))]
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    for one, other in pairwise(spans):
        assert one[0] <= other[0]
        assert one[1] <= other[1]
    for i, (start, end) in enumerate(spans):
        if not view.changes(i, i + 1):
            assert text[start:end] == view.text[i]


@given(text=ANY_TEXT)
@settings(deadline=None, max_examples=150)
@example("\ud800b.o.m.b %41%42%43 &#xD800;&#65;&#65;&#65;")
def test_any_string_has_few_views_whose_places_rise(text: str) -> None:
    views = views_of(text, NAMES)
    assert len(views.found) <= MAX_VIEWS
    assert all(len(view.text) <= 2 * len(text) + 256 for view in views.found)
    for view in views.found:
        assert view.text != text
        _check(view, text)


@given(text=ANY_TEXT)
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("name", ["tags", "invisible", "marks", "nfkc"])
def test_undoing_characters_twice_changes_nothing_more(name: str, text: str) -> None:
    for view in views_of(text, [name]).found:
        assert views_of(view.text, [name]).found == ()


@pytest.mark.parametrize("name", ["tags", "invisible", "marks", "nfkc"])
def test_undoing_the_characters_of_a_disguise_twice_changes_nothing_more(name: str) -> None:
    for disguise in DISGUISES[name]:
        views = views_of(disguise(TEXT), [name]).found
        assert views
        assert all(views_of(view.text, [name]).found == () for view in views)


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
@given(text=ANY_TEXT)
@settings(deadline=None, max_examples=50)
def test_the_scan_lets_nothing_through_that_a_kind_would_undo(kind: str, text: str) -> None:
    (row,) = (row for row in KINDS if row.name == kind)
    if row.undo(text):
        assert row.may(scan_of(text))


UNITS: Sequence[str] = (
    "\u0301", "a\u0301\u0301\u0301", "\u200d", "а", "aа", "a1", "a ", "a.", "aa", "aaa ", "&#65;", "%41", "\\x41",  # noqa: E501
    "41", "41 ", ".", ". ", "- / ", "QUJD", "QUJD\n", "QUJD=", "\U000e0061", "\ufe01", "\U0001d41a", "\ufdfa", "💣a",  # noqa: E501
    "gur ", "eht ", "🇦", "\uff41", "0x41, ", "h0w ", "\n", "é", "ا\u064e",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_the_time_of_a_long_text_is_linear(unit: str) -> None:
    def seconds(n: int) -> float:
        """Least of three, on this thread: what else runs here must not count."""
        text = unit * (n // len(unit))
        tries = []
        for _ in range(3):
            start = time.thread_time()
            views_of(text, NAMES)
            tries.append(time.thread_time() - start)
        return min(tries)

    short = max(seconds(5_000), 0.002)
    assert seconds(40_000) < 8 * 4 * short
