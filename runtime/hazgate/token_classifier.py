"""One token level of a bundle: texts in, spans of characters out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import LevelSpec
from hazgate.classifier import (
    DEFAULT_ENGINE,
    DEFAULT_MAX_BATCH_TOKENS,
    DEFAULT_READING,
)
from hazgate.engine.engine import Engine
from hazgate.engine.options import EngineOptions
from hazgate.engine.session import Session
from hazgate.errors import InputError
from hazgate.judging.classification import LabelHead
from hazgate.judging.spans import FOUND, result_of_spans
from hazgate.judging.verdict import LabelledSpan, LevelResult, ModelIdentity, TokenCount
from hazgate.opening import open_for, open_parts, run_rows
from hazgate.text.cuts import cut, join
from hazgate.text.pairs import check_context, windows_beside
from hazgate.text.reading import Reading, check_sizes, choose_windows
from hazgate.text.tokenization import TextTokens, Tokenizer, Tokens, as_texts
from hazgate.text.words import find_tagged_spans

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Families that never have segments, which graphs leave out: special tokens alone part a pair.
_READS_PAIRS = ("modernbert",)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenResult:
    """The spans of one text, in its order; they do not overlap.

    `truncated` is True if the end of the text was not read: nothing is known of spans there.
    `understood` is False if most of the text, or of one of its windows, is unknown to the
    tokenizer: then no span, and none that is missing, says anything.
    """

    level: str
    spans: tuple[LabelledSpan, ...]
    tokens: TokenCount
    truncated: bool
    understood: bool
    model: ModelIdentity

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, in the order of the fields."""
        return {
            "level": self.level,
            "spans": [span.to_dict() for span in self.spans],
            "tokens": self.tokens.to_dict(),
            "truncated": self.truncated,
            "understood": self.understood,
            "model": self.model.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A tokenised text: the windows to read, and the characters of every token."""

    tokens: Tokens
    own: TextTokens


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenClassifier:
    """One token level of a bundle, ready to run. Thread-safe.

    A text's spans do not depend on the texts in the same run: texts share a run only as the
    variant's arithmetic allows, see hazgate.bundle.manifest.VariantSpec. Of a text of several
    windows, each token counts as the window reads it in which it stands farthest from a cut, see
    hazgate.text.cuts. Texts are read as written, without views and close windows, and no logits
    are kept for later.

    `reading` is the treatment of long texts; `workers` is as of Classifier.
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

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        level: str | None = None,
        *,
        engine: EngineOptions = DEFAULT_ENGINE,
        reading: Reading = DEFAULT_READING,
    ) -> "TokenClassifier":
        """Verify the bundle at `path` and load one of its token levels.

        Only the files that the chosen variant needs are hashed.

        Args:
            path: a bundle directory.
            level: a name in its manifest; needed only where there are several.
            engine: the variant, the provider and the threads.
            reading: the treatment of texts that are longer than one window.

        Raises:
            BundleError: the level gives no spans, or the bundle, the level, the variant or the
                provider cannot be served; the subclass and the message say which, and what to do.
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
    ) -> "TokenClassifier":
        """Load one token level of an open bundle; arguments and errors are those of Classifier.of.

        Raises:
            BundleError: the level gives no spans; or as of Classifier.of.
            ProviderError: the provider is not available here.
        """
        parts = open_parts(
            bundle,
            level,
            per_token=True,
            variant=variant,
            engine=engine or Engine.of(EngineOptions()),
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
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The tags in the order of the logits."""
        return self.spec.labels

    @property
    def types(self) -> tuple[str, ...]:
        """The types of spans that the level can find, which are the labels of its spans."""
        return self.spec.tags.types

    @property
    def head(self) -> LabelHead:
        """The types of spans as labels of a text: each holds or not, by itself."""
        return LabelHead(
            labels=self.types,
            activation="sigmoid",
            positive=None,
            thresholds=(FOUND,) * len(self.types),
            finds_spans=True,
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

    def find(self, text: str, *, context: str | None = None) -> TokenResult:
        """Return the spans of one text; see `find_many`."""
        return self.find_many([text], contexts=None if context is None else [context])[0]

    def find_many(
        self, texts: Sequence[str], *, contexts: Sequence[str | None] | None = None
    ) -> list[TokenResult]:
        """Return the spans of each text, in the order given.

        Characters are counted in code points, as Python counts them, and `end` is the first one
        behind the span. See hazgate.judging.spans for the way from tags to spans.

        A head that was trained on pairs, e.g. to find what an answer says and its sources do not,
        reads each text behind its context, in the tokenizer's own template for pairs. Spans, and
        counts of tokens, are of the text alone. The context stands in every window of the text.

        Args:
            texts: any number of strings; an empty string has no span.
            contexts: the context of each text, None for a text without; None is none for all.

        Raises:
            InputError: an element is not a well-formed string, or is too long; or a context leaves
                no room for the text, or the model or its tokenizer reads no pairs; says which.
            InferenceError: the model failed or gave a logit that is not finite.
        """
        texts = as_texts(texts)
        beside = [None] * len(texts) if contexts is None else list(contexts)
        if isinstance(contexts, str) or len(beside) != len(texts):
            raise InputError(f"expected a context for each of {len(texts)} texts, or None")
        return self._results(self._checked(texts, beside))

    def results_beside(self, texts: Sequence[str]) -> list[LevelResult]:
        """Return the result on each text beside a cascade, which has checked the texts.

        Of texts whose beginning alone is to be read, the first window is read; all others are
        read whole.

        Raises:
            InferenceError: as of `find_many`.
        """
        read = [self._read(text) for text in texts]
        if self.reading.long_texts == "truncate":
            read = [_Read(tokens=each.tokens.first_window(), own=each.own) for each in read]
        return [
            result_of_spans(
                found.spans,
                self.types,
                understood=found.understood,
                truncated=found.truncated,
            )
            for found in self._results(read)
        ]

    def token_logits(self, text: str, *, context: str | None = None) -> NDArray[np.float32]:
        """Return the logits of each of a text's own tokens, special ones left out.

        Args:
            text: the text.
            context: what the text is read behind; None for nothing.

        Returns:
            Shape [tokens that are read, len(labels)].

        Raises:
            InputError: as of `find_many`.
            InferenceError: as of `find_many`.
        """
        (logits,) = self._logits(self._checked([text], [context]))
        return logits

    def _checked(self, texts: Sequence[str], contexts: Sequence[str | None]) -> list[_Read]:
        """Tokenise texts that a caller sent, and choose the windows to read."""
        check_sizes(texts, self.reading)
        read = [
            self._read(text) if context is None else self._read_pair(i, context, text)
            for i, (context, text) in enumerate(zip(contexts, texts, strict=True))
        ]
        chosen = choose_windows([each.tokens for each in read], self.reading)
        return [
            _Read(tokens=tokens, own=each.own) for tokens, each in zip(chosen, read, strict=True)
        ]

    def _read(self, text: str) -> _Read:
        tokens, own = self.tokenizer.encode_long(text)
        return _Read(tokens=tokens, own=own)

    def _read_pair(self, index: int, context: str, text: str) -> _Read:
        if self.spec.family not in _READS_PAIRS:
            raise InputError(
                f"context {index}: {self.level} is a {self.spec.family} model, and pairs are read "
                f"by {' and '.join(_READS_PAIRS)} only, which has no segments: send the text alone"
            )
        check_context(context, f"context {index}", self.reading)
        own = self.tokenizer.pair_tokens(context, text)
        if own is None:
            raise InputError(
                f"context {index}: the tokenizer of {self.level} has no template for pairs: send "
                "the text alone"
            )
        row, overlap = self.tokenizer.row_tokens, self.tokenizer.overlap_tokens
        return _Read(tokens=windows_beside(own, row, overlap, f"context {index}"), own=own)

    def _results(self, read: Sequence[_Read]) -> list[TokenResult]:
        model = self.model
        return [
            TokenResult(
                level=self.level,
                spans=self._spans(each.own, logits),
                tokens=TokenCount(
                    total=each.tokens.n_total,
                    read=each.tokens.n_read,
                    unknown=each.tokens.n_unknown,
                    windows=len(each.tokens.windows),
                ),
                truncated=each.tokens.truncated,
                understood=each.tokens.understood,
                model=model,
            )
            for each, logits in zip(read, self._logits(read), strict=True)
        ]

    def _spans(self, own: TextTokens, logits: NDArray[np.float32]) -> tuple[LabelledSpan, ...]:
        """Return the spans of a text, of whose tokens the first ones have logits."""
        return find_tagged_spans(
            own.text,
            own.offsets[: len(logits)],
            logits,
            self.spec.tags,
            by_word=self.spec.tagged == "words",
        )

    def _logits(self, read: Sequence[_Read]) -> list[NDArray[np.float32]]:
        """Return the logits of each text's own tokens, joined over its windows."""
        # A window without a token of the text has nothing to say.
        rows = [
            window.input_ids for each in read for window in each.tokens.windows if window.n_tokens
        ]
        found: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(rows)
        runs = run_rows(
            self.session,
            rows,
            self.spec,
            self.variant,
            max_batch_tokens=self.max_batch_tokens,
            workers=self.workers,
        )
        for batch, logits in runs:
            for i, row in zip(batch, logits, strict=True):
                found[i] = row
        every = iter(found)
        joined = []
        for each in read:
            if not each.own.ids:
                joined.append(np.empty((0, self.spec.n_logits), dtype=np.float32))
                continue
            first = len(each.own.before)
            room = self.tokenizer.row_tokens - first - len(each.own.after)
            windows = cut(len(each.own.ids), room, self.tokenizer.overlap_tokens)
            windows = windows[: len(each.tokens.windows)]
            own = [next(every)[first : first + len(window)] for window in windows]
            joined.append(join(windows, own))
        return joined
