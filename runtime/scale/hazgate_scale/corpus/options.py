"""What is asked of a run, as far as it bears on what comes out."""

from dataclasses import dataclass
from typing import Literal

from hazgate.text.reading import LongTexts

Format = Literal["jsonl", "parquet", "text"]
Mode = Literal["annotate", "keep", "drop"]
Columns = Literal["all", "text", "id"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusOptions:
    """How rows are read, judged and written: a run is continued only under the same options.

    Attributes:
        format: of every input; None goes by the ends of their names.
        text_column: the column, or the field of a JSON object, that is judged.
        id_column: one that names a row; None where there is none.
        columns: of the input that the output repeats. "all" of them; the "text" and the id; or
            the "id" alone. The other fields of a JSON object are one column `fields`, as JSON.
        mode: "annotate" writes every row, "keep" those flagged, "drop" those not flagged.
        max_row_bytes: rows that are larger are never held in memory, and become dead letters.
        skip_bad_files: inputs that cannot be read become dead letters, too, and end no run.
        n_sample: rows of the sample for review.
        seed: of that sample.
        threshold: P(unsafe) at which a text is flagged; None takes the bundle's.
        tenant: whose rules of a policy decide; None takes the policy's own.
        long_texts: what becomes of texts longer than a window, see `hazgate.Reading`.
        all_levels: read the hazards of texts that are not flagged, too.
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
