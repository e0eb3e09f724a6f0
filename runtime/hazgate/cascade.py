"""Opening of a cascade: both levels and their tokenizers, side by side."""

import time

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import CascadeSpec, TokenizerSpec
from hazgate.classifier import Classifier, served_windows
from hazgate.engine.engine import Engine
from hazgate.text.reading import Reading
from hazgate.text.tokenization import Tokenizer, load_tokenizers

# Time for the levels' threads to enter ONNX Runtime.
_HEAD_START_S = 0.02


def open_levels(
    bundle: Bundle, cascade: CascadeSpec, variant: str, engine: Engine, reading: Reading
) -> tuple[Classifier, Classifier]:
    """Open both levels and their tokenizers at once; a tokenizer file is in memory once.

    Raises:
        BundleError: a level cannot be served; the subclass and the message say which and why.
    """
    names = (cascade.level1, cascade.level2)
    levels = bundle.manifest.levels
    specs = [served_windows(levels[name].tokenizer, reading, engine) for name in names]
    # Imported here because `import hazgate` does not need it.
    from concurrent.futures import Future, ThreadPoolExecutor

    loading: dict[TokenizerSpec, Future[Tokenizer]] = {spec: Future() for spec in specs}

    def open_level(name: str, spec: TokenizerSpec) -> Classifier:
        return Classifier.of(
            bundle,
            name,
            variant=variant,
            engine=engine,
            tokenizer=loading[spec],
            reading=reading,
        )

    # ONNX Runtime packs weights without the interpreter lock: two levels open in the time of one.
    # A compiler already uses all processors.
    with ThreadPoolExecutor(1 if engine.placement.spec.static_shapes else len(names)) as pool:
        opening = [pool.submit(open_level, *level) for level in zip(names, specs, strict=True)]
        # The tokenizers library keeps the interpreter lock while it loads: ONNX Runtime, which
        # does without it, is started first.
        time.sleep(_HEAD_START_S)
        try:
            for spec, tokenizer in load_tokenizers(bundle.read, loading).items():
                loading[spec].set_result(tokenizer)
        except BaseException as error:
            for future in loading.values():
                future.set_exception(error)
        level1, level2 = (level.result() for level in opening)
    return level1, level2
