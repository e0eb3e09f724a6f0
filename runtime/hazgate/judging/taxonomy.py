"""Names of the classifier's hazards in other taxonomies, as data.

Each file of `taxonomies/` has one taxonomy's categories and, for each of the nine hazards, the
categories that it corresponds to. The training data defines a hazard, not its name alone:
S3_sex_crimes, for example, includes sexual content and everything about children.
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

# The category as seen from the hazard (skos:exactMatch, broadMatch, narrowMatch, closeMatch
# of https://www.w3.org/TR/skos-reference/#mapping).
Relation = Literal["exact", "broader", "narrower", "partial"]

_FOLDER = "taxonomies"


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One category, with the identifier that its taxonomy uses on the wire."""

    id: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A category that a hazard corresponds to, exactly or with a loss.

    A `broader` category includes more than the hazard, a `narrower` one less, and a `partial` one
    includes a part of it and other things.
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
    """A set of categories, and the classifier's hazards in their terms.

    `source` is the specification that the names come from, with its version.
    """

    id: str
    title: str
    source: str
    categories: tuple[Category, ...]
    hazards: Mapping[str, HazardMatches]

    def lossy(self, hazard: str) -> bool:
        """Return True if no category means exactly what `hazard` means.

        Raises:
            BundleError: the taxonomy does not know the hazard.
        """
        _check_known(self, [hazard])
        return all(match.relation != "exact" for match in self.hazards[hazard].matches)


def taxonomy_names() -> tuple[str, ...]:
    """Return the names that `load_taxonomy` takes, sorted."""
    # Imported here because a gateway without taxonomies does not need it.
    from importlib.resources import files

    names = (entry.name for entry in (files("hazgate.judging") / _FOLDER).iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".json")))


@cache
def load_taxonomy(name: str) -> Taxonomy:
    """Read a taxonomy that comes with hazgate, once.

    Raises:
        InputError: there is none of that name.
        BundleError: its file is damaged; names all problems.
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
    """Return the taxonomy that a JSON document contains.

    Raises:
        BundleError: the text is not JSON, or has wrong fields; names all of them.
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
    """Return the score of every category, in the taxonomy's order.

    A category's score is the highest among the hazards that match it, and 0 if none does. With a
    lossy match it is the hazard's score, not the category's own: see `Taxonomy.lossy`.

    Args:
        taxonomy: see `load_taxonomy`.
        hazards: score of each hazard in [0, 1]; None, if Level 2 was not read, gives zeros.

    Raises:
        BundleError: the taxonomy does not know some hazards; names all of them.
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
            f"taxonomy {taxonomy.id!r} does not know {', '.join(unknown)}; "
            f"it knows {', '.join(taxonomy.hazards)}"
        )


def _contradictions(taxonomy: Taxonomy) -> Iterator[str]:
    ids = [category.id for category in taxonomy.categories]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"$.categories: {name!r} is listed twice"
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
