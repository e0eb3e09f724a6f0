"""Fixtures of early exits: a bundle whose every exit a reader can predict."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hazgate import Gate, Policy
from hazgate.engine.logit_store import NO_STORE, StoreLimits
from hazgate.engine.options import EngineOptions, ExitOptions
from tests.support.early_spotter import VARIANT


@pytest.fixture
def open_early(early_spotter: Path) -> Callable[..., Gate]:
    """Return a function that opens its variant with exits, which by default reads nothing to see.

    Arguments are those of `Gate.open`; `audit_share`, `file` and `store` go to its engine.
    """

    def open_gate(
        *,
        audit_share: float = 0.0,
        file: Path | None = None,
        store: StoreLimits = NO_STORE,
        threshold: float | None = None,
        policy: Policy | None = None,
        shadow: Policy | None = None,
    ) -> Gate:
        exits = ExitOptions(file=file, audit_share=audit_share)
        return Gate.open(
            early_spotter,
            engine=EngineOptions(variant=VARIANT, threads=1, exits=exits, store=store),
            threshold=threshold,
            policy=policy,
            shadow=shadow,
        )

    return open_gate
