"""Tags of a token level: the tokens that each label marks, and rules for their names. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# The tag of tokens outside every span, where a level names none itself.
OUTSIDE = "O"
_BEGIN, _INSIDE = "B-", "I-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """The meaning of one label: the type of span that it marks, and whether it begins one.

    `type` is None outside every span. A tag without B- or I- never begins a span by itself.
    """

    type: str | None
    begins: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tags:
    """The tags of a level in the order of its logits, and their types in the order of the tags."""

    tags: tuple[Tag, ...]
    types: tuple[str, ...]

    @classmethod
    def of(cls, labels: Sequence[str], outside: str | None) -> "Tags":
        """Return the meaning of labels in which `tag_problems` finds nothing wrong.

        Args:
            labels: the level's labels, in the order of its logits.
            outside: the label outside every span, if the others are types of spans; None for B-,
                I- and O.
        """
        tags = tuple(_tag(label, outside) for label in labels)
        types = tuple(dict.fromkeys(tag.type for tag in tags if tag.type is not None))
        return cls(tags=tags, types=types)


def tag_problems(labels: Sequence[str], outside: str | None) -> list[str]:
    """List what is wrong with the labels of a token level, each beginning with a field.

    Without `outside`, one label is O and every other is B-TYPE or I-TYPE. A type may have one of
    the two alone: with B- alone each of its tokens is a span, with I- alone its neighbours are one
    span. With `outside`, every other label is a type, and neighbours of one type are one span.

    Args:
        labels: the level's labels, in the order of its logits.
        outside: as of `Tags.of`.
    """
    tagged = [label for label in labels if label.startswith((_BEGIN, _INSIDE))]
    if outside is not None:
        problems = []
        if outside not in labels:
            problems.append(f"outside: {outside!r} is not a label of the level")
        if tagged:
            problems.append(
                f"outside: the labels have B- and I- ({', '.join(tagged[:3])}), whose tag outside "
                f"every span is {OUTSIDE}; leave it out"
            )
        return problems
    problems = []
    n_outside = Counter(labels)[OUTSIDE]
    if n_outside != 1:
        problems.append(f"labels: expected the tag {OUTSIDE} once, got it {n_outside} times")
    unknown = [label for label in labels if label != OUTSIDE and not _type(label)]
    if unknown:
        problems.append(
            f"labels: expected {OUTSIDE}, B-TYPE or I-TYPE, got {', '.join(map(repr, unknown[:5]))}"
            f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}; if they are types of "
            "spans, name the label of tokens outside every span: outside = "
            f'"{unknown[0] if n_outside != 1 else OUTSIDE}"'
        )
    return problems


def _type(label: str) -> str:
    """Return the type in a tag B-TYPE or I-TYPE; empty if it is none."""
    return label[len(_BEGIN) :] if label.startswith((_BEGIN, _INSIDE)) else ""


def _tag(label: str, outside: str | None) -> Tag:
    if outside is not None:
        return Tag(type=None if label == outside else label)
    if label == OUTSIDE:
        return Tag(type=None)
    return Tag(type=_type(label), begins=label.startswith(_BEGIN))
