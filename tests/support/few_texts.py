"""Builds that are proven on a few texts, for tests of something else than parity."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hazgate_export.proof.texts import load_proof_texts

_STRIDE = 20


def use_few_proof_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove builds on every twentieth proof text only."""
    texts = load_proof_texts()[::_STRIDE]
    monkeypatch.setattr("hazgate_export.build.load_proof_texts", lambda: texts)


@contextmanager
def few_proof_texts_used() -> Iterator[None]:
    """Prove builds on few texts within the block, for fixtures of a module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_few_proof_texts(monkeypatch)
        yield


if __name__ == "__main__":
    # The exporter's command in a process of its own, e.g. with another HF_ENDPOINT.
    from hazgate_export.__main__ import main

    with few_proof_texts_used():
        main()
