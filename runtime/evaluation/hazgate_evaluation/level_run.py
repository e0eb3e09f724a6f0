"""Evaluation of one level of a bundle by the labels that it gives."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from hazgate import __version__
from hazgate.classifier import DEFAULT_READING, Classifier
from hazgate.engine.engine import Engine
from hazgate.engine.options import EngineOptions
from hazgate.gate import Gate
from hazgate.judging.classification import LabelHead
from hazgate.judging.verdict import ModelIdentity
from hazgate.opening import open_for
from hazgate.token_classifier import TokenClassifier
from hazgate_evaluation.estimates import Resampling
from hazgate_evaluation.label_figures import label_matrix, labelled_level_figures
from hazgate_evaluation.level_report import LEVEL_SCHEMA_VERSION, LevelReport, LevelSystem
from hazgate_evaluation.level_rows import LevelDataset
from hazgate_evaluation.scores import CHUNK_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLevel:
    """A level of texts as it answers in use: beside its cascade, or alone.

    `judge` is the gate of the cascade that the level stands beside, else the level itself.
    """

    level: str
    judge: Gate | Classifier

    @property
    def head(self) -> LabelHead:
        """The meaning of the level's labels."""
        return (
            self.judge.beside[self.level].head if isinstance(self.judge, Gate) else self.judge.head
        )

    @property
    def model(self) -> ModelIdentity:
        """The identity of the model that answers."""
        return self.judge.model

    def labels(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the labels that hold for each text.

        Raises:
            InputError: a text cannot be read.
            InferenceError: the model failed.
        """
        if isinstance(self.judge, Classifier):
            return [answer.labels for answer in self.judge.classify(texts)]
        verdicts = self.judge.check_many(texts, levels=[self.level])
        return [verdict.levels[self.level].labels for verdict in verdicts]


def open_level(
    path: str | os.PathLike[str], level: str, engine: EngineOptions
) -> OpenLevel | TokenClassifier:
    """Open one level of a bundle, whatever its kind.

    Raises:
        BundleError: the bundle, the level, the variant or the provider cannot be served.
    """
    opened = Engine.of(engine)
    bundle, variant = open_for(path, engine.variant, opened.placement.spec)
    name = bundle.manifest.level_named(level)
    if bundle.manifest.levels[name].per_token:
        return TokenClassifier.of(bundle, name, variant=variant, engine=opened)
    cascade = bundle.manifest.cascade
    if cascade is None or name in (cascade.level1, cascade.level2):
        alone = Classifier.of(bundle, name, variant=variant, engine=opened)
        return OpenLevel(level=name, judge=alone)
    gate = Gate.of_cascade(
        bundle,
        variant=variant,
        engine=opened,
        threshold=None,
        reading=DEFAULT_READING,
        policy=None,
        shadow=None,
        responses=None,
    )
    return OpenLevel(level=name, judge=gate)


def evaluate_labels(
    levels: Sequence[OpenLevel],
    dataset: LevelDataset,
    command: str,
    begin: Callable[[str, int], Callable[[int], None]],
) -> LevelReport:
    """Evaluate variants of one level on the same rows.

    Args:
        levels: the open variants.
        dataset: rows with the level's labels.
        command: the command line, for the report.
        begin: called with the name and number of texts of each step.

    Raises:
        InputError: a text cannot be read.
        InferenceError: a model failed.
    """
    rows = dataset.rows
    _, group = np.unique([row.group for row in rows], return_inverse=True)
    resampling = Resampling(group=group.astype(np.int64))
    systems = []
    for level in levels:
        advance = begin(f"label {level.model.bundle} {level.model.variant}", len(rows))
        start_s = time.perf_counter()
        given: list[tuple[str, ...]] = []
        for at in range(0, len(rows), CHUNK_TEXTS):
            chunk = rows[at : at + CHUNK_TEXTS]
            given += level.labels([row.text for row in chunk])
            advance(len(chunk))
        labels = level.head.labels
        systems.append(
            LevelSystem(
                level=level.level,
                model=level.model,
                seconds=time.perf_counter() - start_s,
                figures=labelled_level_figures(
                    label_matrix([row.labels for row in rows], labels),
                    label_matrix(given, labels),
                    labels,
                    resampling,
                ),
            )
        )
    return LevelReport(
        schema_version=LEVEL_SCHEMA_VERSION,
        hazgate=__version__,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=dataset.name,
        data_sha256=dataset.sha256,
        n_rows=len(rows),
        n_rows_in_file=dataset.n_rows_in_file,
        systems=tuple(systems),
    )
