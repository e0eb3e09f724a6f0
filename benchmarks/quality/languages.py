"""`python -m benchmarks.quality.languages`: texts in languages that a bundle does not vouch for.

Counts which labelled texts are marked, by language and length, and what that costs beside
tokenising. Of the texts themselves nothing is kept.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate.bundle.bundle import Bundle
from hazgate.documents.jsonl import parse_object, stream_rows, string_field
from hazgate.text.languages import Vouching, is_installed, load_vouching
from hazgate.text.scripts import letters_by_script
from hazgate.text.tokenization import Tokenizer
from hazgate_export.recipe_file import load_recipe

_RECIPES = ("mini", "multilingual")
# Texts of so many letters or more, up to the next; none of fewer is told apart by its words.
_LETTERS = (1, 20, 30, 50, 100, 500)
# Languages with fewer texts show nothing alone.
_LEAST_TEXTS = 100
_N_TIMED = 4000
_PIECE_CHARACTERS = 400
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedCount:
    """Texts of one language and so many letters, and those of them that were marked.

    `by_script` of them are marked without the identifier of languages, too.
    """

    language: str
    least_letters: int
    n_texts: int
    n_marked: int
    by_script: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VouchedCounts:
    """The counts for the languages that one recipe vouches for.

    `n_code` pieces of this project's own source code were read, `n_code_marked` of them marked.
    """

    recipe: str
    vouched: tuple[str, ...]
    counts: tuple[MarkedCount, ...]
    n_code: int
    n_code_marked: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkingCost:
    """The cost of marking: loading the identifier once, then of each text.

    `loading_s` and `resident_mb` are of the load. The others are median seconds a text, over
    rounds: of marking, of marking by scripts alone, and of tokenising the same texts. All seconds
    are the processor's.
    """

    loading_s: float
    resident_mb: float
    n_texts: int
    marking_s: float
    by_script_s: float
    tokenising_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageResults:
    """All that one run measured."""

    header: ResultHeader
    recipes: tuple[VouchedCounts, ...]
    cost: MarkingCost


def languages_text(results: LanguageResults) -> str:
    """Return the tables, with the command that repeats them."""
    parts = [part for one in results.recipes for part in _tables(one)]
    cost = results.cost
    said = (
        f"Marking takes {cost.marking_s / cost.tokenising_s:.1f} times as long as tokenising the "
        f"same {cost.n_texts} texts, by scripts alone {cost.by_script_s / cost.tokenising_s:.2f} "
        f"times. To load the identifier takes {cost.loading_s:.1f} s of a "
        f"processor and {cost.resident_mb:.0f} MB of memory."
    )
    return "\n\n".join([*parts, f"{said} {results.header.origin}"])


def _tables(one: VouchedCounts) -> Iterator[str]:
    yield f"**`{one.recipe}`** vouches for {', '.join(one.vouched)}."
    own = [count for count in one.counts if count.language in one.vouched]
    others = [count for count in one.counts if count.language not in one.vouched]
    heads = ("letters", "vouched for", "marked", "others", "marked", "by script alone")
    rows = []
    for least in _LETTERS:
        parts = [[each for each in of if each.least_letters == least] for of in (own, others)]
        (n_own, own_marked, _), (n_others, marked, by_script) = map(_sums, parts)
        rows.append(
            (
                _letters(least),
                str(n_own),
                _share(own_marked, n_own),
                str(n_others),
                _share(marked, n_others),
                _share(by_script, n_others),
            )
        )
    yield table(heads, rows)
    names = sorted({each.language for each in one.counts})
    shown = {
        language: _sums([each for each in one.counts if each.language == language])
        for language in names
    }
    yield table(
        ("language", "texts", "marked", "by script alone"),
        [
            (
                f"{language}, vouched for" if language in one.vouched else language,
                str(n_texts),
                _share(marked, n_texts),
                _share(by_script, n_texts),
            )
            for language, (n_texts, marked, by_script) in shown.items()
            if n_texts >= _LEAST_TEXTS
        ],
    )
    yield (
        f"Of {one.n_code} pieces of this project's source code, {_PIECE_CHARACTERS} characters "
        f"each, {one.n_code_marked} are marked."
    )


def _letters(least: int) -> str:
    after = next((n for n in _LETTERS if n > least), None)
    return f"{least} and more" if after is None else f"{least} to {after - 1}"


def _sums(counts: Sequence[MarkedCount]) -> tuple[int, int, int]:
    return (
        sum(count.n_texts for count in counts),
        sum(count.n_marked for count in counts),
        sum(count.by_script for count in counts),
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class _LabelledText:
    text: str
    language: str


def _parse(_number: int, line: bytes) -> _LabelledText:
    fields = parse_object(line)
    return _LabelledText(text=string_field(fields, "text"), language=string_field(fields, "lang"))


def _counts(texts: Sequence[_LabelledText], vouching: Vouching) -> tuple[MarkedCount, ...]:
    by_script_alone = Vouching.of(vouching.languages)
    n_texts: Counter[tuple[str, int]] = Counter()
    marked: Counter[tuple[str, int]] = Counter()
    by_script: Counter[tuple[str, int]] = Counter()
    for each in texts:
        n_letters = sum(letters_by_script(each.text).values())
        if not n_letters:
            continue
        key = each.language, max(least for least in _LETTERS if least <= n_letters)
        n_texts[key] += 1
        marked[key] += not vouching.covers(each.text)
        by_script[key] += not by_script_alone.covers(each.text)
    return tuple(
        MarkedCount(
            language=language,
            least_letters=least,
            n_texts=n,
            n_marked=marked[language, least],
            by_script=by_script[language, least],
        )
        for (language, least), n in sorted(n_texts.items())
    )


def _code() -> list[str]:
    """Return pieces of this project's source files."""
    files = sorted(
        path
        for folder in ("runtime", "export", "benchmarks")
        for suffix in ("*.py", "*.cc", "*.toml")
        for path in (REPOSITORY / folder).rglob(suffix)
    )
    sources = [path.read_text(encoding="utf-8") for path in files]
    return [
        source[start : start + _PIECE_CHARACTERS]
        for source in sources
        for start in range(0, len(source) - _PIECE_CHARACTERS, 5 * _PIECE_CHARACTERS)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Load:
    seconds: float
    resident_mb: float


def _processor_s(call: Callable[[], object]) -> float:
    """Make a call and return the processor's seconds that it took, whoever else is busy."""
    start_s = time.process_time()
    call()
    return time.process_time() - start_s


def _load() -> _Load:
    """Load the identifier for the first time in this process."""
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    seconds = _processor_s(lambda: load_vouching(["en"]))
    gc.collect()
    return _Load(seconds=seconds, resident_mb=(process.memory_info().rss - before) / 1e6)


def _cost(
    texts: Sequence[str], vouching: Vouching, tokenizer: Tokenizer, load: _Load
) -> MarkingCost:
    by_script = Vouching.of(vouching.languages)
    rounds = [
        (
            _processor_s(lambda: [vouching.covers(text) for text in texts]),
            _processor_s(lambda: [by_script.covers(text) for text in texts]),
            _processor_s(lambda: [tokenizer.encode_checked([text]) for text in texts]),
        )
        for _ in range(_ROUNDS)
    ]
    marking, script, tokenising = (
        sorted(column)[_ROUNDS // 2] / len(texts) for column in zip(*rounds, strict=True)
    )
    return MarkingCost(
        loading_s=load.seconds,
        resident_mb=load.resident_mb,
        n_texts=len(texts),
        marking_s=marking,
        by_script_s=script,
        tokenising_s=tokenising,
    )


@click.command(epilog="Example: python -m benchmarks.quality.languages --data train.jsonl")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Rows with `text` and `lang`, as JSON Lines.",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REPOSITORY / "build" / "mini",
    help="A bundle whose tokenizer is timed.  [default: build/mini]",
)
@refusals()
def languages(data: Path, bundle: Path) -> None:
    """Count the marked texts of DATA under each recipe, and time marking beside tokenising."""
    if not is_installed():
        raise BenchmarkError("py3langid is not installed; install hazgate[languages]")
    load = _load()
    with data.open("rb") as lines:
        texts = list(stream_rows(lines, _parse, source=data.name))
    code = _code()
    found = []
    for name in _RECIPES:
        recipe = load_recipe(REPOSITORY / "export" / "recipes" / f"{name}.toml").recipe
        vouching = load_vouching(recipe.languages.vouched if recipe.languages else ())
        if vouching is None:
            raise BenchmarkError(f"{name}: expected languages in its recipe, found none")
        found.append(
            VouchedCounts(
                recipe=name,
                vouched=tuple(sorted(vouching.languages)),
                counts=_counts(texts, vouching),
                n_code=len(code),
                n_code_marked=sum(not vouching.covers(piece) for piece in code),
            )
        )
    opened = Bundle.open(bundle)
    first = next(iter(opened.manifest.levels.values())).tokenizer
    vouching = load_vouching(found[0].vouched)
    assert vouching is not None
    step = max(1, len(texts) // _N_TIMED)
    sample = [each.text for each in texts[::step]]
    results = LanguageResults(
        header=header(
            opened.manifest.name,
            f"python -m benchmarks.quality.languages --data {data.name}",
            distributions=("py3langid",),
        ),
        recipes=tuple(found),
        cost=_cost(sample, vouching, Tokenizer(opened.read(first.file), first), load),
    )
    publish(results, RESULTS / "languages.json", languages_text)


REGIONS: Regions = {"languages": region("languages.json", LanguageResults, languages_text)}


if __name__ == "__main__":
    languages()
