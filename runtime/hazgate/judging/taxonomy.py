"""Other category languages: what the classifier's hazards are called elsewhere, as data.

Each file of `taxonomies/` has one taxonomy's categories and, for each of the nine hazards, the
categories that it corresponds to. What a hazard means is what the classifier was trained on, not
its name alone: S3_sex_crimes, for one, includes sexual content and everything about children.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from hazgate.documents.decode import decode
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError, InputError
from hazgate.judging.scores import check_probabilities

# What the category is, seen from the hazard (skos:exactMatch, broadMatch, narrowMatch, closeMatch
# of https://www.w3.org/TR/skos-reference/#mapping).
Relation = Literal["exact", "broader", "narrower", "partial"]

_FOLDER = "taxonomies"


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One category by the identifier that its taxonomy uses on the wire."""

    id: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A category that a hazard corresponds to, and how: `exact`, or with a loss.

    A `broader` category holds more than the hazard, a `narrower` one less, and a `partial` one
    holds some of it and other things besides.
    """

    category: str
    relation: Relation


@dataclass(frozen=True, kw_only=True, slots=True)
class HazardMatches:
    """The categories of one hazard; `note` says why there is none, or what is lost."""

    matches: tuple[Match, ...]
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Taxonomy:
    """A category language and how the classifier's hazards read in it.

    `source` is the specification that the names were taken from, with its version.
    """

    id: str
    title: str
    source: str
    categories: tuple[Category, ...]
    hazards: Mapping[str, HazardMatches]

    def lossy(self, hazard: str) -> bool:
        """Whether no category means exactly what `hazard` means.

        Raises:
            BundleError: the taxonomy does not know the hazard.
        """
        _check_known(self, [hazard])
        return all(match.relation != "exact" for match in self.hazards[hazard].matches)

    def overlaps(self) -> dict[str, tuple[str, ...]]:
        """The categories that several hazards match, with these hazards."""
        hazards = {
            category.id: tuple(
                hazard
                for hazard, entry in self.hazards.items()
                if any(match.category == category.id for match in entry.matches)
            )
            for category in self.categories
        }
        return {category: names for category, names in hazards.items() if len(names) > 1}


def taxonomy_names() -> tuple[str, ...]:
    """The names that `load_taxonomy` takes, sorted."""
    # Imported here: a gateway that speaks its own labels has no use for it.
    from importlib.resources import files

    names = (entry.name for entry in (files("hazgate.judging") / _FOLDER).iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".json")))


@cache
def load_taxonomy(name: str) -> Taxonomy:
    """A taxonomy that comes with hazgate, read once.

    Raises:
        InputError: there is none of that name.
        BundleError: its file is damaged; everything that is wrong with it is named.
    """
    from importlib.resources import files

    if name not in taxonomy_names():
        known = ", ".join(taxonomy_names())
        raise InputError(f"no taxonomy {name[:60]!r}; there are {known}")
    taxonomy = parse_taxonomy((files("hazgate.judging") / _FOLDER / f"{name}.json").read_bytes())
    if taxonomy.id != name:
        raise BundleError(f"{_FOLDER}/{name}.json says that it is {taxonomy.id!r}")
    return taxonomy


def parse_taxonomy(text: bytes) -> Taxonomy:
    """The taxonomy that a JSON document spells.

    Raises:
        BundleError: not JSON, or any number of wrong fields, all named.
    """
    data = parse_json(text, source="the taxonomy", error=BundleError)
    problems: list[str] = []
    taxonomy = decode(Taxonomy, data, problems)
    if taxonomy is not None:
        problems.extend(_contradictions(taxonomy))
    if taxonomy is None or problems:
        raise BundleError(f"this is not a valid taxonomy:{list_problems(problems)}")
    return taxonomy


def translate(taxonomy: Taxonomy, hazards: Mapping[str, float] | None) -> dict[str, float]:
    """The score of every category, in the taxonomy's order.

    A category's score is the highest among the hazards that match it, and 0 where none does. The
    score of a lossy match is the hazard's, which is not the category's own: see `Taxonomy.lossy`.

    Args:
        taxonomy: see `load_taxonomy`.
        hazards: score of each hazard in [0, 1]; None, when the level was not read, gives zeros.

    Raises:
        BundleError: hazards that the taxonomy does not know, all named.
        InferenceError: a score is not a number in [0, 1].
    """
    scores = dict.fromkeys((category.id for category in taxonomy.categories), 0.0)
    if hazards is None:
        return scores
    _check_known(taxonomy, hazards)
    check_probabilities(hazards)
    for hazard, score in hazards.items():
        for match in taxonomy.hazards[hazard].matches:
            scores[match.category] = max(scores[match.category], float(score))
    return scores


def _check_known(taxonomy: Taxonomy, hazards: Mapping[str, float] | list[str]) -> None:
    unknown = [hazard for hazard in hazards if hazard not in taxonomy.hazards]
    if unknown:
        raise BundleError(
            f"taxonomy {taxonomy.id!r} says nothing of {', '.join(unknown)}; "
            f"it knows {', '.join(taxonomy.hazards)}"
        )


def _contradictions(taxonomy: Taxonomy) -> Iterator[str]:
    ids = [category.id for category in taxonomy.categories]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"$.categories: {name!r} is there twice"
    for path, value in (
        ("id", taxonomy.id),
        ("title", taxonomy.title),
        ("source", taxonomy.source),
    ):
        if not value:
            yield f"$.{path}: must not be empty"
    exact: dict[str, str] = {}
    for hazard, entry in taxonomy.hazards.items():
        path = f"$.hazards.{hazard}"
        if not entry.matches and not entry.note:
            yield f"{path}.note: must say why no category matches"
        matched = [match.category for match in entry.matches]
        for match in entry.matches:
            if match.category not in ids:
                yield f"{path}: no category {match.category!r}"
            if matched.count(match.category) > 1:
                yield f"{path}: {match.category!r} is matched twice"
            if match.relation != "exact":
                continue
            if match.category in exact:
                other = exact[match.category]
                yield f"{path}: {match.category!r} cannot be exactly this and exactly {other}"
            exact.setdefault(match.category, hazard)
