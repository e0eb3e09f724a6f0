"""Opening of a bundle: its levels and their tokenizers, side by side."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import TokenizerSpec
from hazgate.classifier import Classifier
from hazgate.engine.engine import Engine
from hazgate.opening import served_windows
from hazgate.text.reading import Reading
from hazgate.text.tokenization import Tokenizer, load_tokenizers
from hazgate.token_classifier import TokenClassifier

# Time for the levels' threads to enter ONNX Runtime.
_HEAD_START_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLevels:
    """The open levels of a bundle by name: those that label texts, and the token levels."""

    texts: Mapping[str, Classifier]
    tokens: Mapping[str, TokenClassifier]


def open_levels(bundle: Bundle, variant: str, engine: Engine, reading: Reading) -> OpenLevels:
    """Open all levels and their tokenizers at once; a tokenizer file is in memory once.

    Returns:
        The levels. Those on one body share its session and tokenizer.

    Raises:
        BundleError: a level cannot be served; the subclass and the message say which and why.
    """
    levels = bundle.manifest.levels
    bodies = bundle.manifest.bodies()
    specs = [served_windows(levels[body[0]].tokenizer, reading, engine) for body in bodies]
    # Imported here because `import hazgate` does not need it.
    from concurrent.futures import Future, ThreadPoolExecutor

    loading: dict[TokenizerSpec, Future[Tokenizer]] = {spec: Future() for spec in specs}

    def open_body(body: Sequence[str], spec: TokenizerSpec) -> Classifier | TokenClassifier:
        of_kind = TokenClassifier if levels[body[0]].per_token else Classifier
        return of_kind.of(
            bundle,
            body[0],
            variant=variant,
            engine=engine,
            tokenizer=loading[spec],
            reading=reading,
        )

    # ONNX Runtime packs weights without the interpreter lock: two levels open in the time of one.
    # A compiler already uses all processors.
    with ThreadPoolExecutor(1 if engine.placement.spec.static_shapes else len(bodies)) as pool:
        opening = [pool.submit(open_body, *body) for body in zip(bodies, specs, strict=True)]
        # The tokenizers library keeps the interpreter lock while it loads: ONNX Runtime, which
        # does without it, is started first.
        time.sleep(_HEAD_START_S)
        try:
            for spec, tokenizer in load_tokenizers(bundle.read, loading).items():
                loading[spec].set_result(tokenizer)
        except BaseException as error:
            for future in loading.values():
                future.set_exception(error)
        opened = [body.result() for body in opening]
    texts: dict[str, Classifier] = {}
    tokens: dict[str, TokenClassifier] = {}
    for first, body in zip(opened, bodies, strict=True):
        if isinstance(first, TokenClassifier):
            tokens[first.level] = first
        else:
            for name in body:
                texts[name] = first if name == first.level else first.on_this_body(name)
    return OpenLevels(texts=texts, tokens=tokens)
