"""The cascade: every text through Level 1, what it flags through Level 2, verdicts out."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hazgate.bundle import Bundle
from hazgate.classifier import Classifier
from hazgate.errors import BundleError, InputError
from hazgate.manifest import TokenizerSpec
from hazgate.scores import softmax
from hazgate.session import CPU, measure_int8_speedup
from hazgate.tokenization import Tokenizer, Tokens, as_texts, check_text
from hazgate.variants import choose_variant
from hazgate.verdict import ModelIdentity, TokenCount, Verdict, decide

# Tokenising is linear in a text's length, and a longer one is no prompt but an attack.
DEFAULT_MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A safety gate over one bundle. Thread-safe; build it once and share it."""

    bundle: Bundle
    gate: Classifier
    hazards: Classifier
    threshold: float
    max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES

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
        max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES,
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
            max_text_bytes: longer texts (UTF-8) are refused as InputError.

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
        specs = [bundle.manifest.levels[name].tokenizer for name in names]
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
            max_text_bytes=max_text_bytes,
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

        Args:
            texts: any number of strings; an empty string is a text like any other.
            all_levels: read the hazards of texts that Level 1 did not flag, too.

        Raises:
            InputError: an element is not a well-formed string, or is too long; says which.
            InferenceError: a model failed or gave a logit that is not finite.
        """
        texts = as_texts(texts)
        self._check_input(texts)
        tokens = self.gate.tokenizer.encode(texts)
        positive = self.gate.labels.index(self.bundle.manifest.cascade.positive_label)
        unsafe = softmax(self.gate.logits_of_tokens(tokens))[:, positive]
        opened = [i for i, p in enumerate(unsafe) if all_levels or p >= self.threshold]
        hazard_tokens = self._hazard_tokens([texts[i] for i in opened], [tokens[i] for i in opened])
        hazards = dict(zip(opened, self._hazards(hazard_tokens), strict=True))
        read = {i: t.n_read for i, t in zip(opened, hazard_tokens, strict=True)}
        model = self.model
        return [
            decide(
                unsafe=float(unsafe[i]),
                threshold=self.threshold,
                hazards=hazards.get(i),
                tokens=TokenCount(total=t.n_total, read=min(t.n_read, read.get(i, t.n_read))),
                model=model,
            )
            for i, t in enumerate(tokens)
        ]

    def _check_input(self, texts: Sequence[str]) -> None:
        for i, text in enumerate(texts):
            size_bytes = check_text(text, i)
            if size_bytes > self.max_text_bytes:
                raise InputError(
                    f"text {i}: {size_bytes} bytes, at most {self.max_text_bytes} are taken; "
                    "split it, or open the gate with a larger max_text_bytes"
                )

    def _hazard_tokens(self, texts: Sequence[str], tokens: list[Tokens]) -> list[Tokens]:
        shared = self.hazards.tokenizer is self.gate.tokenizer
        return tokens if shared else self.hazards.tokenizer.encode(texts)

    def _hazards(self, tokens: Sequence[Tokens]) -> list[Mapping[str, float]]:
        rows: np.ndarray = softmax(self.hazards.logits_of_tokens(tokens))
        return [dict(zip(self.hazards.labels, map(float, row), strict=True)) for row in rows]
