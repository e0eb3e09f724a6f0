"""Builds that are proven on a few texts, for tests of something else than parity."""

import pytest

from hazgate_export.proof.texts import load_proof_texts

_STRIDE = 20


def use_few_proof_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove builds on every twentieth proof text only."""
    texts = load_proof_texts()[::_STRIDE]
    monkeypatch.setattr("hazgate_export.build.load_proof_texts", lambda: texts)
