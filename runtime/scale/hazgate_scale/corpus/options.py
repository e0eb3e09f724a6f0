"""Options of a run that affect its output."""

from dataclasses import dataclass
from typing import Literal

from hazgate.text.reading import LongTexts

Format = Literal["jsonl", "parquet", "text"]
Mode = Literal["annotate", "keep", "drop"]
Columns = Literal["all", "text", "id"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusOptions:
    """Options for reading, judging and writing; a run continues only under the same ones.

    Attributes:
        format: format of every input; None takes it from their names.
        text_column: column, or field of a JSON object, that is judged.
        id_column: column that holds the row's id; None without ids.
        columns: input columns that the output repeats: "all", the "text" and the id, or the "id"
            alone. The other fields of a JSON object become one column `fields`, as JSON.
        mode: "annotate" writes every row, "keep" the flagged ones, "drop" the others.
        max_row_bytes: larger rows are never held in memory and become dead letters.
        skip_bad_files: unreadable inputs become dead letters instead of ending the run.
        n_sample: rows of the sample for review.
        seed: random seed of the sample.
        threshold: P(unsafe) at which a text is flagged; None takes the bundle's.
        tenant: tenant whose rules of a policy decide; None takes the policy's own.
        long_texts: treatment of texts longer than a window, see `hazgate.Reading`.
        all_levels: also score the hazards of texts that are not flagged.
        levels: levels beside the cascade whose results are written, too.
    """

    format: Format | None = None
    text_column: str = "text"
    id_column: str | None = None
    columns: Columns = "all"
    mode: Mode = "annotate"
    max_row_bytes: int = 1 << 20
    skip_bad_files: bool = False
    n_sample: int = 0
    seed: int = 0
    threshold: float | None = None
    tenant: str | None = None
    long_texts: LongTexts = "window"
    all_levels: bool = False
    levels: tuple[str, ...] = ()
