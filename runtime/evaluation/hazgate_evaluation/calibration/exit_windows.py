"""The windows of unlabelled texts, with what probes read of them and what the whole model says."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hazgate.documents.jsonl import checked_rows, parse_object, string_field
from hazgate.engine.exit_claim import is_held_out
from hazgate.engine.session import OrtSession
from hazgate.errors import BundleError, InputError
from hazgate.gate import Gate
from hazgate.judging.scores import softmax
from hazgate.text.batching import pad, plan_batches
from hazgate.text.tokenization import Window
from hazgate_evaluation.scores import CHUNK_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class TrafficText:
    """A text of one's own traffic; texts of one group are fitted or proven on together."""

    text: str
    group: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExitWindows:
    """Windows that the whole model has read.

    Attributes:
        states: what each exit's probe reads, shape [n, n_exits, hidden].
        unsafe: P(unsafe) at temperature 1, as it counts, shape [n]; see `Classifier.counted`.
        group: number of each window's group, shape [n].
        held_out: True for windows that prove the claim, False for those to fit on, shape [n].
    """

    states: NDArray[np.float32]
    unsafe: NDArray[np.float64]
    group: NDArray[np.int64]
    held_out: NDArray[np.bool_]


def read_traffic(file: Path) -> list[TrafficText]:
    """Return the texts of a JSON Lines file, each once.

    Fields besides `text` and `group` mean nothing. A text without a group is one by itself.

    Raises:
        InputError: the file cannot be read, has no text, or lines have none; names the lines.
    """
    rows = list(checked_rows(file, lambda _, line: _parse(line)))
    if not rows:
        raise InputError(f"{file} has no text: expected one JSON object a line, with `text`")
    # Draws of one text are no independent draws.
    return list({row.text: row for row in rows}.values())


def read_windows(
    gate: Gate, texts: Sequence[TrafficText], advance: Callable[[int], None]
) -> ExitWindows:
    """Read every window of texts whole, as the gate cuts them.

    Args:
        gate: of a variant with early exits.
        texts: the texts.
        advance: called after each chunk with its number of texts.

    Raises:
        InputError: a text is longer than the gate takes; names its position in its chunk.
        BundleError: the level is not served by one session of its own.
        InferenceError: the model failed or gave a number that is not finite.
    """
    level = gate.level1
    session = level.session
    if not isinstance(session, OrtSession) or level.exits is None:
        raise BundleError(f"{level.level} is not served by a graph with early exits here")
    groups = {name: i for i, name in enumerate(dict.fromkeys(each.group for each in texts))}
    held_out = {i: is_held_out(name) for name, i in groups.items()}
    logits, states, group = [], [], []
    for start in range(0, len(texts), CHUNK_TEXTS):
        chunk = texts[start : start + CHUNK_TEXTS]
        asked = gate.ask([each.text for each in chunk], whole=True)
        windows: list[Window] = []
        of_rows: list[int] = []
        for each, question in zip(chunk, asked, strict=True):
            own = question.tokens.every_window
            windows += own
            of_rows += [groups[each.group]] * len(own)
        rows = [window.input_ids for window in windows]
        batching = level.spec.variants[level.variant].batching
        for batch in plan_batches([len(row) for row in rows], level.max_batch_tokens, batching):
            ids, mask = pad([rows[i] for i in batch], level.spec.tokenizer.pad_token_id)
            of_batch, pooled = session.pooled(ids, mask)
            is_sentence = [windows[i].is_sentence for i in batch]
            logits.append(level.counted(level.own(of_batch), is_sentence))
            states.append(pooled)
            group += [of_rows[i] for i in batch]
        advance(len(chunk))
    return ExitWindows(
        states=np.concatenate(states),
        unsafe=softmax(np.concatenate(logits))[:, level.exits.positive],
        group=np.array(group, dtype=np.int64),
        held_out=np.array([held_out[i] for i in group], dtype=np.bool_),
    )


def _parse(line: bytes) -> TrafficText:
    fields = parse_object(line)
    text = string_field(fields, "text")
    if fields.get("group") is not None:
        return TrafficText(text=text, group=f"group {string_field(fields, 'group')}")
    return TrafficText(text=text, group=f"text {hashlib.sha256(text.encode()).hexdigest()}")
