"""Runs of a gate's levels on the windows of questions: logits and results out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.classifier import Classifier
from hazgate.engine.logit_store import LogitStore
from hazgate.judging.panel import level_result
from hazgate.judging.verdict import LevelResult
from hazgate.questions import Question
from hazgate.text.tokenization import Tokens, Window
from hazgate.token_classifier import TokenClassifier


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelRuns:
    """Questions that Level 1 has read, for other levels to read the same windows.

    Attributes:
        level1: cuts the windows.
        asked: the questions.
        rows: what Level 1's body computed of each question, by window.
        store: gives and keeps logits; None runs the models on everything.
    """

    level1: Classifier
    asked: Sequence[Question]
    rows: Sequence[NDArray[np.float32]]
    store: LogitStore | None

    @classmethod
    def of(
        cls, level1: Classifier, asked: Sequence[Question], store: LogitStore | None
    ) -> "LevelRuns":
        """Run Level 1 on every window of the questions.

        Raises:
            InferenceError: as in `Gate.check_many`.
        """
        rows = level1.question_rows(asked, store)
        return cls(level1=level1, asked=asked, rows=rows, store=store)

    def level1_logits(self) -> list[NDArray[np.float32]]:
        """Return Level 1's logits of each question, by window, as they count."""
        return [
            self.level1.counted(
                self.level1.own(of_text),
                [each.is_sentence for each in question.tokens.every_window],
            )
            for question, of_text in zip(self.asked, self.rows, strict=True)
        ]

    def decided_after(self) -> list[int | None]:
        """Return of each question after how many layers Level 1 was decided, if early."""
        return [self.level1.decided_after(of_text) for of_text in self.rows]

    def logits_by_window(
        self, level: Classifier, to_read: Sequence[Sequence[int]]
    ) -> Mapping[tuple[int, int], NDArray[np.float32]]:
        """Return a level's logits by question and window, of the windows `to_read` of each."""
        keys = [(i, k) for i, windows in enumerate(to_read) for k in windows]
        return dict(zip(keys, self._window_logits(level, keys), strict=True))

    def results(
        self, levels: Mapping[str, Classifier], token_levels: Mapping[str, TokenClassifier]
    ) -> list[dict[str, LevelResult]]:
        """Return the results of the levels beside the cascade that each question asks for."""
        results: list[dict[str, LevelResult]] = [{} for _ in self.asked]
        for name in dict.fromkeys(name for question in self.asked for name in question.levels):
            asking = [i for i, question in enumerate(self.asked) if name in question.levels]
            if name in token_levels:
                found = token_levels[name].results_beside([self.asked[i].text for i in asking])
                for i, result in zip(asking, found, strict=True):
                    results[i][name] = result
                continue
            level = levels[name]
            keys = [(i, k) for i in asking for k in range(len(self.asked[i].tokens.every_window))]
            logits = iter(self._window_logits(level, keys))
            for i in asking:
                windows = self.asked[i].tokens.every_window
                read = [next(logits) for _ in windows]
                # A window may be several in another body's tokens; each has the window's weight.
                rows = [
                    window
                    for window, of_window in zip(windows, read, strict=True)
                    for _ in of_window
                ]
                results[i][name] = level_result(
                    level.head,
                    level.counted(np.concatenate(read), [window.is_sentence for window in rows]),
                    [window.n_tokens for window in rows],
                    level.positive_threshold,
                    understood=self.asked[i].tokens.understood,
                )
        return results

    def _window_logits(
        self, level: Classifier, keys: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float32]]:
        """Return a level's logits of windows of Level 1.

        Args:
            level: another level of the gate; on Level 1's body, nothing is run.
            keys: index of a question and of its window.

        Returns:
            Shape [n, n_labels] for each key; n is 1, or the number of windows that the level's own
            tokenizer makes of that window.
        """
        if level.graph == self.level1.graph:
            return [level.own(self.rows[i][k : k + 1]) for i, k in keys]
        indexes = {i for i, _ in keys}
        every = {i: self.level1.tokens_of(self.asked[i]).every_window for i in indexes}
        pieces = [self._tokens_for(level, self.asked[i].text, every[i][k]) for i, k in keys]
        owners = [self.asked[i].owner for i, _ in keys]
        return level.window_logits(pieces, store=self.store, owners=owners)

    def _tokens_for(self, level: Classifier, text: str, window: Window) -> Tokens:
        """Return a window of Level 1 in the tokens of a level on another body."""
        if level.tokenizer is self.level1.tokenizer:
            return Tokens(windows=(window,), n_total=window.n_tokens, n_read=window.n_tokens)
        part = text[window.start : window.end] if window.view is None else window.view.text
        (tokens,) = level.tokenizer.encode_checked([part])
        return tokens
