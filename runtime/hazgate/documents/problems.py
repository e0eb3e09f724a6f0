"""Problems of a document, listed in one message for the person who must fix them."""

from collections.abc import Callable, Iterator, Sequence

# Enough to mend a file by; a file of another kind would report every line of it.
MAX_PROBLEMS = 20


def list_problems(problems: Sequence[str], *, most: int = MAX_PROBLEMS) -> str:
    r"""Return one bullet per problem, each on a line of its own, to follow a heading.

    Problems beyond `most` are counted, not shown.

    >>> "policy.toml is not a valid policy:" + list_problems(["$.mode: missing"])
    'policy.toml is not a valid policy:\n  - $.mode: missing'
    """
    shown = list(problems[:most])
    if len(problems) > most:
        shown.append(f"and {len(problems) - most} more")
    return "".join(f"\n  - {problem}" for problem in shown)


def wrong_version(found: object, expected: int) -> Iterator[str]:
    """Yield a problem if a document's `schema_version` is not the expected one."""
    if found != expected:
        yield f"$.schema_version: expected {expected}, got {found}"


def refuse_newer(
    data: object, known: int, *, source: str, cure: str, error: Callable[[str], Exception]
) -> None:
    """Refuse a document written for a newer hazgate, before reading anything else of it.

    Args:
        data: the parsed document; one without a `schema_version` passes.
        known: the newest schema version that this hazgate reads.
        source: the document's name in the error.
        cure: the alternative to upgrading hazgate, as "write the policy for this version".
        error: the class of the error.

    Raises:
        error: the document's schema version is newer than `known`.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > known:
        raise error(
            f"{source} has schema version {version}; this hazgate reads up to {known}. "
            f"Upgrade hazgate, or {cure}."
        )
