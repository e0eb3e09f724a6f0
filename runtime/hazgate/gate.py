"""The cascade: every text through Level 1, what it flags through Level 2, verdicts out."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle import Bundle
from hazgate.classifier import Classifier
from hazgate.conversation import ConversationVerdict, Message, Scope, conclude, texts_of
from hazgate.errors import BundleError
from hazgate.manifest import TokenizerSpec
from hazgate.reading import Reading, check_sizes, choose_windows
from hazgate.scores import softmax
from hazgate.session import CPU, measure_int8_speedup
from hazgate.tokenization import Tokenizer, Tokens, Window, as_texts
from hazgate.variants import choose_variant
from hazgate.verdict import ModelIdentity, Span, TokenCount, Verdict, decide
from hazgate.watch import Watch

DEFAULT_READING = Reading()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A safety gate over one bundle. Thread-safe; build it once and share it."""

    bundle: Bundle
    gate: Classifier
    hazards: Classifier
    threshold: float
    reading: Reading = DEFAULT_READING

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        variant: str | None = None,
        provider: str = CPU,
        threads: int | None = None,
        workers: int = 1,
        threshold: float | None = None,
        reading: Reading = DEFAULT_READING,
    ) -> "Gate":
        """Verifies the bundle at `path`, as far as the variant needs it, and loads both levels.

        Args:
            path: a bundle directory.
            variant: which of the bundle's variants runs; None takes its default, "auto" int8 where
                this processor is faster at it, see `hazgate.variants`.
            provider: ONNX Runtime's name of the execution provider.
            threads: intra-op threads of a run; None divides this process's processors among the
                workers.
            workers: runs that may go on at a time within one call of `check_many`. One, on all
                processors, answers a single text soonest; one worker a processor, each with one
                thread, answers the most texts a second.
            threshold: P(unsafe) at which a text is flagged; None takes the bundle's.
            reading: what becomes of texts that are longer than one window.

        Raises:
            BundleError: the bundle, the variant or the provider cannot be served; the subclass
                and the message say which, and what to do.
        """
        choose = functools.partial(choose_variant, asked=variant, int8_speedup=measure_int8_speedup)
        bundle = Bundle.open_variant(path, choose)
        chosen = choose(bundle.manifest)
        cascade = bundle.manifest.cascade
        limit = cascade.threshold if threshold is None else threshold
        if not 0 < limit < 1:
            raise BundleError(f"threshold must be between 0 and 1, got {limit}")
        names = (cascade.gate, cascade.hazards)
        specs = [reading.windows_of(bundle.manifest.levels[name].tokenizer) for name in names]
        # Equal specifications are one tokenizer.
        tokenizers = {spec: Tokenizer(bundle.file(spec.file), spec) for spec in specs}

        def open_level(name: str, spec: TokenizerSpec) -> Classifier:
            return Classifier.open(
                bundle,
                name,
                variant=chosen,
                provider=provider,
                threads=threads,
                workers=workers,
                tokenizer=tokenizers[spec],
            )

        # Imported here, for `import hazgate` does without it.
        from concurrent.futures import ThreadPoolExecutor

        # ONNX Runtime packs weights without the interpreter lock: two levels take the time of one.
        with ThreadPoolExecutor(len(names)) as pool:
            gate, hazards = pool.map(open_level, names, specs)
        return cls(
            bundle=bundle,
            gate=gate,
            hazards=hazards,
            threshold=limit,
            reading=reading,
        )

    @property
    def model(self) -> ModelIdentity:
        """What gives this gate's answers."""
        return ModelIdentity(
            bundle=self.bundle.manifest.name,
            digest=self.bundle.digest,
            variant=self.gate.variant,
            provider=self.gate.provider,
        )

    def check(self, text: str, *, all_levels: bool = False) -> Verdict:
        """The verdict on one text; see `check_many`."""
        return self.check_many([text], all_levels=all_levels)[0]

    def check_many(self, texts: Sequence[str], *, all_levels: bool = False) -> list[Verdict]:
        """The verdict on each text, in the order given.

        A text that is longer than a window of the model is read in several, see `Reading`; the
        most unsafe of them decides.

        Args:
            texts: any number of strings; an empty string is a text like any other.
            all_levels: read the hazards of texts that Level 1 did not flag, too.

        Raises:
            InputError: an element is not a well-formed string, or is too long; says which.
            InferenceError: a model failed or gave a logit that is not finite.
        """
        texts = as_texts(texts)
        check_sizes(texts, self.reading)
        tokens = choose_windows(self.gate.tokenizer.encode(texts), self.reading)
        positive = self.gate.labels.index(self.bundle.manifest.cascade.positive_label)
        unsafe = [softmax(logits)[:, positive] for logits in self.gate.window_logits(tokens)]
        opened = {
            i: windows
            for i, of_text in enumerate(unsafe)
            if (windows := opened_windows(of_text, self.threshold, all_levels=all_levels))
        }
        hazards = dict(zip(opened, self._hazards(texts, tokens, opened), strict=True))
        return [
            self._verdict(text_tokens, of_text, hazards.get(i))
            for i, (text_tokens, of_text) in enumerate(zip(tokens, unsafe, strict=True))
        ]

    def check_messages(
        self, messages: Sequence[Message], *, scope: Scope = "each", all_levels: bool = False
    ) -> ConversationVerdict:
        """The verdict on a conversation.

        Args:
            messages: its turns, oldest first; see `hazgate.parse_messages`.
            scope: "each" turn by itself, the "last" turn only, or the "whole" as one text in the
                bundle's format.
            all_levels: as in `check_many`.

        Raises:
            InputError: there is no message, or one cannot be read; says which.
            InferenceError: as in `check_many`.
        """
        texts = texts_of(messages, scope, self.bundle.manifest.conversation)
        return conclude(self.check_many(texts, all_levels=all_levels), scope, messages)

    def watch(self, *, stride_tokens: int | None = None, n_confirm: int = 1) -> Watch:
        """Watches a text that grows piece by piece, as a language model writes it.

        Args:
            stride_tokens: new tokens between two checks; None is a quarter of a window. Fewer
                find out sooner and cost more.
            n_confirm: checks in a row that must be at the threshold.

        Raises:
            BundleError: fewer than one of either.
        """
        if stride_tokens is None:
            stride_tokens = max(1, self.gate.spec.tokenizer.window_tokens // 4)
        return Watch(
            self.check,
            self.gate.tokenizer,
            max_text_bytes=self.reading.max_text_bytes,
            stride_tokens=stride_tokens,
            n_confirm=n_confirm,
        )

    def _hazards(
        self, texts: Sequence[str], tokens: Sequence[Tokens], opened: Mapping[int, Sequence[int]]
    ) -> list[Mapping[str, float]]:
        """Each hazard's highest probability over the windows that opened the gate."""
        pieces = [
            self._hazard_tokens(texts[i], [tokens[i].windows[k] for k in windows])
            for i, windows in opened.items()
        ]
        highest = [softmax(logits).max(axis=0) for logits in self.hazards.window_logits(pieces)]
        return [dict(zip(self.hazards.labels, map(float, row), strict=True)) for row in highest]

    def _hazard_tokens(self, text: str, windows: Sequence[Window]) -> Tokens:
        """What Level 2 reads of these windows of Level 1, in its own tokens."""
        if self.hazards.tokenizer is not self.gate.tokenizer:
            parts = self.hazards.tokenizer.encode([text[w.start : w.end] for w in windows])
            windows = [window for part in parts for window in part.windows]
        n_tokens = sum(window.n_tokens for window in windows)
        return Tokens(windows=tuple(windows), n_total=n_tokens, n_read=n_tokens)

    def _verdict(
        self, tokens: Tokens, unsafe: NDArray[np.float64], hazards: Mapping[str, float] | None
    ) -> Verdict:
        worst = tokens.windows[int(unsafe.argmax())]
        return decide(
            unsafe=float(unsafe.max()),
            threshold=self.threshold,
            hazards=hazards,
            tokens=TokenCount(
                total=tokens.n_total, read=tokens.n_read, windows=len(tokens.windows)
            ),
            span=Span(start=worst.start, end=worst.end),
            model=self.model,
        )


def opened_windows(unsafe: NDArray[np.float64], threshold: float, *, all_levels: bool) -> list[int]:
    """Which windows of a text Level 2 is to read.

    Args:
        unsafe: P(unsafe) of each window.
        threshold: the gate opens at this P(unsafe) and above.
        all_levels: where no window opens it, read the hazards of the most unsafe one.
    """
    opened = [int(i) for i in np.flatnonzero(unsafe >= threshold)]
    return opened or ([int(unsafe.argmax())] if all_levels else [])
