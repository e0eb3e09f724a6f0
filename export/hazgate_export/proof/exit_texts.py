"""The windows on which early exits are fitted and proven."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.jsonl import LineError, checked_rows, parse_object, string_field
from hazgate.engine.exit_claim import is_held_out
from hazgate.text.reading import Reading, choose_windows
from hazgate.text.tokenization import Tokenizer
from hazgate.text.view_windows import with_views
from hazgate_export.errors import RecipeError


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitWindow:
    """One window as it is served; `group` is what it shares with no window of the other part.

    `is_sentence` marks a window of a second look, see `hazgate.bundle.manifest.TokenizerSpec`.
    """

    input_ids: tuple[int, ...]
    is_sentence: bool
    group: str

    @property
    def held_out(self) -> bool:
        """True if it proves the claim, False if probes and limits are fitted on it."""
        return is_held_out(self.group)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitTexts:
    """Windows of texts, none of them twice, and the digest of the files that they are from."""

    windows: tuple[ExitWindow, ...]
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    text: str
    group: str


def read_exit_texts(files: Sequence[Path], tokenizer: Tokenizer, *, where: str) -> ExitTexts:
    """Read texts and cut them into windows as a gate does, views and close windows included.

    Args:
        files: JSON Lines with a field `text`. Rows with an equal `group` are on one side of the
            split; without the field a text is its own group.
        tokenizer: of the level.
        where: the field of the recipe that names the files, for errors.

    Raises:
        RecipeError: a file is not such a file.
    """
    reading = Reading()

    def refuse(problem: str) -> RecipeError:
        return RecipeError(f"{where}: {problem}")

    rows = [row for file in files for row in checked_rows(file, _row, error=refuse)]
    tokens = choose_windows(tokenizer.encode([row.text for row in rows]), reading)
    found: dict[tuple[tuple[int, ...], bool], ExitWindow] = {}
    for row, of_text in zip(rows, tokens, strict=True):
        seen = with_views(row.text, of_text, tokenizer, reading.views)
        for window in seen.every_window:
            own = ExitWindow(
                input_ids=window.input_ids, is_sentence=window.is_sentence, group=row.group
            )
            found.setdefault((own.input_ids, own.is_sentence), own)
    digests = "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return ExitTexts(
        windows=tuple(found.values()), sha256=hashlib.sha256(digests.encode()).hexdigest()
    )


def _row(_number: int, line: bytes) -> _Row:
    fields = parse_object(line)
    text, group = string_field(fields, "text"), fields.get("group")
    if group is not None and not isinstance(group, str):
        raise LineError(f"expected group to be a string, got {type(group).__name__}")
    return _Row(text=text, group=text if group is None else group)
