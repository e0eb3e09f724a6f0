"""One level of a bundle: texts in, labels, probabilities and logits out."""

import dataclasses
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import LevelSpec, PositiveSpec
from hazgate.engine.engine import Engine
from hazgate.engine.exit_audit import OpenExits
from hazgate.engine.logit_store import LogitStore, Owner, read_once
from hazgate.engine.options import EngineOptions
from hazgate.engine.providers.table import CPU
from hazgate.engine.session import Session
from hazgate.errors import InputError
from hazgate.judging.classification import (
    Classification,
    LabelHead,
    labels_that_hold,
    scores_of_windows,
)
from hazgate.judging.scores import calibrated, lowered
from hazgate.judging.speech import Role, Side
from hazgate.judging.verdict import ModelIdentity
from hazgate.opening import open_for, open_parts, run_rows
from hazgate.questions import KnownTexts, Question, questions
from hazgate.text.languages import Vouching, load_vouching
from hazgate.text.reading import Reading, choose_windows
from hazgate.text.tokenization import Tokenizer, Tokens

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

DEFAULT_READING = Reading()
DEFAULT_ENGINE = EngineOptions()
# Rows x longest row of one run. Above it a 2-core CPU gains nothing from sharing a run.
DEFAULT_MAX_BATCH_TOKENS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """One level of a bundle, ready to run. Thread-safe.

    Levels on one body share its session, and one run computes the logits of all: those methods
    whose names end in `_rows` return them, the others return the level's own.

    A text's logits do not depend on the texts in the same run: texts share a run only as the
    variant's arithmetic allows, see hazgate.bundle.manifest.VariantSpec.

    `reading` is the treatment of long texts by `classify`. With several `workers`, that many runs
    of one call go on at a time, each on its own threads: more texts per second, but the first
    answer comes no sooner. `store` keeps logits for `classify`, if the variant is exact. `vouching`
    has the languages that the bundle vouches for; None marks no text.

    With `exits`, questions that a gate asks may leave the graph early, see
    hazgate.engine.early_graph; every other text is read whole.
    """

    level: str
    spec: LevelSpec
    variant: str
    provider: str
    tokenizer: Tokenizer
    session: Session
    bundle: Bundle
    reading: Reading = DEFAULT_READING
    max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS
    workers: "ThreadPoolExecutor | None" = None
    store: LogitStore | None = None
    vouching: Vouching | None = None
    exits: OpenExits | None = None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        level: str | None = None,
        *,
        engine: EngineOptions = DEFAULT_ENGINE,
        reading: Reading = DEFAULT_READING,
    ) -> "Classifier":
        """Verify the bundle at `path` and load one of its levels.

        Only the files that the chosen variant needs are hashed.

        Args:
            path: a bundle directory.
            level: a name in its manifest; needed only where there are several.
            engine: the variant, the provider and the threads.
            reading: the treatment of texts that are longer than one window.

        Raises:
            BundleError: the bundle, the level, the variant or the provider cannot be served; the
                subclass and the message say which, and what to do.
        """
        opened = Engine.of(engine)
        bundle, variant = open_for(path, engine.variant, opened.placement.spec)
        name = bundle.manifest.level_named(level)
        return cls.of(bundle, name, variant=variant, engine=opened, reading=reading)

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        level: str,
        *,
        variant: str | None = None,
        engine: Engine | None = None,
        tokenizer: "Tokenizer | Future[Tokenizer] | None" = None,
        reading: Reading = DEFAULT_READING,
    ) -> "Classifier":
        """Load one level of an open bundle.

        Args:
            bundle: a verified bundle.
            level: a name in its manifest.
            variant: one of the level's variants; None takes the bundle's default.
            engine: the provider and threads to run on; None is the CPU, all processors for one run.
            tokenizer: an already loaded tokenizer of the same specification, to share it, or one
                that another thread loads meanwhile.
            reading: the treatment of texts that are longer than one window.

        Raises:
            BundleError: no such level or variant, or the variant is not made for the provider.
            ProviderError: the provider is not available here.
        """
        engine = engine or Engine.of(EngineOptions())
        parts = open_parts(
            bundle,
            level,
            per_token=False,
            variant=variant,
            engine=engine,
            tokenizer=tokenizer,
            reading=reading,
        )
        return cls(
            level=level,
            spec=parts.spec,
            variant=parts.variant,
            provider=parts.provider,
            tokenizer=parts.tokenizer,
            session=parts.session,
            bundle=bundle,
            reading=reading,
            workers=parts.workers,
            store=engine.store,
            vouching=load_vouching(tuple(bundle.manifest.languages or ())),
            exits=parts.exits,
        )

    def on_this_body(self, level: str) -> "Classifier":
        """Return another level that the same session computes."""
        return dataclasses.replace(self, level=level, spec=self.bundle.manifest.levels[level])

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the logits."""
        return self.spec.labels

    @property
    def graph(self) -> str:
        """The graph's file in the bundle, which levels on one body have in common."""
        return self.spec.variants[self.variant].graph

    def own(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the level's logits [n, n_labels] of its body's rows [n, n_logits]."""
        return rows[:, self.spec.own_columns]

    def counted(
        self, logits: NDArray[np.float32], is_sentence: Sequence[bool]
    ) -> NDArray[np.float32]:
        """Return the level's logits as they count: less of a sentence by itself, see TokenizerSpec.

        Args:
            logits: shape [n, n_labels].
            is_sentence: True for each row of a sentence by itself.
        """
        margin = self.spec.tokenizer.sentence_margin
        if not margin or self.positive is None or not any(is_sentence):
            return logits
        return lowered(logits, is_sentence, self.labels.index(self.positive.label), margin)

    @property
    def n_columns(self) -> int:
        """Columns of its body's rows: the logits of all levels on it and, if it has exits, one."""
        return self.spec.n_logits if self.exits is None else self.spec.n_logits + 1

    @property
    def lets_leave(self) -> bool:
        """True if windows may leave early now."""
        return self.exits is not None and self.exits.on

    def decided_after(self, rows: NDArray[np.float32]) -> int | None:
        """Return the number of layers after which the last of a text's windows left early.

        Args:
            rows: of all windows of a text, shape [n_windows, n_columns].

        Returns:
            The number, or None if any window was read whole.
        """
        if self.exits is None or not (rows[:, -1] > 0).all():
            return None
        return int(rows[:, -1].max())

    @property
    def positive(self) -> PositiveSpec | None:
        """The label that flags a text and its threshold; None if the level looks for none."""
        return self.bundle.manifest.positive_of(self.level)

    @property
    def positive_threshold(self) -> float | None:
        """The probability of the positive label that flags a text; None without such a label."""
        return None if self.positive is None else self.positive.threshold

    @property
    def head(self) -> LabelHead:
        """The meaning of the logits."""
        return LabelHead(
            labels=self.labels,
            activation=self.spec.activation,
            positive=None if self.positive is None else self.positive.label,
            thresholds=self.spec.label_thresholds,
        )

    @property
    def model(self) -> ModelIdentity:
        """The identity of the model that answers."""
        return ModelIdentity(
            bundle=self.bundle.manifest.name,
            digest=self.bundle.digest,
            variant=self.variant,
            provider=self.provider,
        )

    @property
    def is_exact(self) -> bool:
        """True if logits are the same to the last bit in any company, so that they may be kept."""
        return self.provider == CPU and self.spec.variants[self.variant].is_exact

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Return the labels of each text, in the order given, by the bundle's own thresholds.

        A text longer than one window is read as `reading` says; see
        `hazgate.judging.classification` for the way from windows to one answer.

        Raises:
            InputError: an element is not a well-formed string, or is too long; says which.
            InferenceError: the model failed or gave a logit that is not finite.
        """
        return self.answer(self.ask(texts, store=self.store), store=self.store)

    def ask(
        self,
        texts: Sequence[str],
        *,
        all_levels: bool = False,
        levels: Collection[str] = (),
        tenant: str | None = None,
        roles: Sequence[Role | None] | None = None,
        side: Side = "request",
        caller: str = "",
        tokens: Sequence[Tokens | None] = (),
        store: LogitStore | None = None,
        whole: bool = True,
    ) -> list[Question]:
        """Check and tokenise texts without running the model: the first half of `classify`.

        Args:
            texts: any number of strings.
            all_levels: means nothing here; there is one level.
            levels: must be empty; there is no level beside this one.
            tenant: must be None; there is no policy.
            roles: mean nothing without a policy.
            side: means nothing without a policy.
            caller: the name of who asks, for a store of logits.
            tokens: of texts that this level's tokenizer has read already; empty for none.
            store: knows the windows of texts that it has; None tokenises all.
            whole: means nothing here; no text leaves early.

        Raises:
            InputError: as in `classify`, or a tenant or another level was named.
        """
        if tenant is not None:
            raise InputError("a tenant was named, but a level that stands alone has no policy")
        if levels:
            raise InputError(
                f"levels {', '.join(sorted(levels))} were named, but {self.level} stands alone"
            )
        del roles, side, whole
        return questions(
            texts,
            self.tokenizer,
            self.reading,
            all_levels=all_levels,
            owner=(caller, None),
            tokens=tokens,
            known=self.known(store),
            vouching=self.vouching,
        )

    def answer(
        self, asked: Sequence[Question], *, store: LogitStore | None = None
    ) -> list[Classification]:
        """Run the model on questions from this level's `ask`: the second half of `classify`.

        Args:
            asked: the questions.
            store: gives and keeps logits; None runs the model on everything.

        Raises:
            InferenceError: as in `classify`.
        """
        logits = self.question_logits(asked, store)
        return [
            dataclasses.replace(
                self._classification(question.tokens, rows), language=question.language
            )
            for question, rows in zip(asked, logits, strict=True)
        ]

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the logits of texts that fit into one window each.

        Returns:
            Shape [len(texts), len(labels)], in the order given.

        Raises:
            InputError: an element is not a well-formed string, or is too long; says which.
            InferenceError: the model failed or gave a logit that is not finite.
        """
        tokens = choose_windows(self.tokenizer.encode(texts), Reading(long_texts="reject"))
        return self.logits_of_ids([text.windows[0].input_ids for text in tokens])

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability of each label for each text; shape and errors as in `logits`."""
        return calibrated(self.logits(texts), 1.0, self.spec.activation)

    def window_logits(
        self,
        tokens: Sequence[Tokens],
        *,
        store: LogitStore | None = None,
        owners: Sequence[Owner] = (),
    ) -> list[NDArray[np.float32]]:
        """Return the logits of every window of texts that are tokenised already.

        Args:
            tokens: the texts.
            store: gives and keeps logits, if the variant is exact; None runs the model on all.
            owners: whose each text is, for the store.

        Returns:
            Shape [len(text.every_window), len(labels)] for each text, in the order given.

        Raises:
            InferenceError: the model failed or gave a logit that is not finite.
        """
        return [self.own(rows) for rows in self.window_rows(tokens, store=store, owners=owners)]

    def window_rows(
        self,
        tokens: Sequence[Tokens],
        *,
        store: LogitStore | None = None,
        owners: Sequence[Owner] = (),
        flags_from: Sequence[float | None] = (),
    ) -> list[NDArray[np.float32]]:
        """Return what the body computes of every window; else as `window_logits`.

        Args:
            tokens: as of `window_logits`.
            store: as of `window_logits`.
            owners: as of `window_logits`.
            flags_from: of each text, as in `Question`; empty reads all whole.

        Returns:
            Shape [len(text.every_window), n_columns] for each text, in the order given.
        """
        rows = [window.input_ids for text in tokens for window in text.every_window]
        of_texts = list(flags_from) or [None] * len(tokens)
        margin = self.spec.tokenizer.sentence_margin or 0.0
        from_ = [
            each if each is None or not window.is_sentence else each + margin
            for text, each in zip(tokens, of_texts, strict=True)
            for window in text.every_window
        ]
        known = self.known(store)
        if known is None or not rows:
            logits = self._rows_of_ids(rows, from_)
        else:
            keys = [
                key
                for text, owner, each in zip(tokens, owners, of_texts, strict=True)
                for key in known.of(each).window_keys(text, owner)
            ]
            logits = np.stack(
                read_once(
                    known.store,
                    keys,
                    lambda missing: self._rows_of_ids(
                        [rows[i] for i in missing], [from_[i] for i in missing]
                    ),
                )
            )
        ends = np.cumsum([len(text.every_window) for text in tokens])
        return np.split(logits, ends[:-1]) if len(tokens) else []

    def question_logits(
        self, asked: Sequence[Question], store: LogitStore | None
    ) -> list[NDArray[np.float32]]:
        """Return the logits of every window of each question; as `window_logits`."""
        return [self.own(rows) for rows in self.question_rows(asked, store)]

    def question_rows(
        self, asked: Sequence[Question], store: LogitStore | None
    ) -> list[NDArray[np.float32]]:
        """Return what the body computes of every window of each question; as `window_rows`."""
        # By question: the rows that are kept, by window.
        kept: dict[int, dict[int, NDArray[np.float32]]] = {}
        pieces: list[Tokens] = []
        for i, question in enumerate(asked):
            kept[i] = {} if store is None else self._kept(question, store)
            pieces.append(question.tokens.without(kept[i]) if kept[i] else self.tokens_of(question))
        read = self.window_rows(
            pieces,
            store=store,
            owners=[question.owner for question in asked],
            flags_from=[question.flags_from for question in asked],
        )
        for i, rows in enumerate(read):
            if kept[i]:
                n_windows = len(asked[i].tokens.every_window)
                rest = iter(rows)
                new = {k: next(rest) for k in range(n_windows) if k not in kept[i]}
                read[i] = np.stack(
                    [kept[i][k] if k in kept[i] else new[k] for k in range(n_windows)]
                )
        return read

    def _kept(self, question: Question, store: LogitStore) -> dict[int, NDArray[np.float32]]:
        """Return the rows of a question's windows that have no ids; empty if any is missing."""
        every = question.tokens.every_window
        known = [k for k in range(len(question.keys)) if not every[k].input_ids]
        logits = store.find_all([question.keys[k] for k in known])
        return {} if logits is None else dict(zip(known, logits, strict=True))

    def tokens_of(self, question: Question) -> Tokens:
        """Return a question's tokens with their ids; tokenise the text again if any are missing."""
        if not question.keys or all(each.input_ids for each in question.tokens.every_window):
            return question.tokens
        (tokens,) = choose_windows(self.tokenizer.encode_checked([question.text]), self.reading)
        return tokens

    def known(self, store: LogitStore | None) -> KnownTexts | None:
        """Return what a store knows of texts at this level; None if nothing may be kept."""
        if store is None or not self.is_exact:
            return None
        model = self.model
        return KnownTexts(
            store=store,
            source=(
                *(self.graph, model.digest, model.variant, model.provider),
                *(() if self.exits is None else (self.exits.digest,)),
            ),
            tokenizer=self.tokenizer,
            reading=self.reading,
        )

    def logits_of_ids(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return logits [len(rows), len(labels)] of rows of `input_ids`.

        Raises:
            InferenceError: as in `window_logits`.
        """
        return self.own(self._rows_of_ids(rows))

    def _rows_of_ids(
        self, rows: Sequence[Sequence[int]], flags_from: Sequence[float | None] = ()
    ) -> NDArray[np.float32]:
        """Return what the body computes, shape [len(rows), n_columns].

        Args:
            rows: token ids of each row.
            flags_from: of each row, as in `Question`; empty reads all whole.
        """
        result = np.empty((len(rows), self.n_columns), dtype=np.float32)
        draw = None
        if self.exits is not None:
            draw = self.exits.draw(list(flags_from) or [None] * len(rows))
        runs = run_rows(
            self.session,
            rows,
            self.spec,
            self.variant,
            max_batch_tokens=self.max_batch_tokens,
            workers=self.workers,
            may_leave=None if draw is None else draw.may_leave,
        )
        for batch, logits in runs:
            result[batch] = logits
        if self.exits is not None and draw is not None:
            self.exits.count(draw, result)
        return result

    def _classification(self, tokens: Tokens, logits: NDArray[np.float32]) -> Classification:
        head, positive = self.head, self.positive
        every = tokens.every_window
        counted = self.counted(logits, [window.is_sentence for window in every])
        scores = scores_of_windows(head, counted, [window.n_tokens for window in every])
        flagged = positive is not None and (
            not tokens.understood or scores[positive.label] >= positive.threshold
        )
        return Classification(
            level=self.level,
            labels=labels_that_hold(head, scores, flagged=flagged),
            scores=scores,
            tokens=tokens.count,
            truncated=tokens.truncated,
            understood=tokens.understood,
            model=self.model,
        )
