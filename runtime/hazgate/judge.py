"""A bundle opened as what it is: a gate, which gives verdicts, or a level that stands alone."""

import os
from collections.abc import Sequence
from typing import TypeAlias

from hazgate.classifier import DEFAULT_ENGINE, DEFAULT_READING, Classifier
from hazgate.engine.engine import Engine
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError, InputError
from hazgate.gate import Gate
from hazgate.judging.classification import Classification, classification_of
from hazgate.judging.policy import Policy
from hazgate.judging.speech import UNKNOWN_WORDS, UNVOUCHED_LANGUAGE
from hazgate.judging.verdict import Verdict
from hazgate.opening import open_for
from hazgate.text.reading import Reading
from hazgate.token_classifier import TokenClassifier

Judge: TypeAlias = Gate | Classifier
Answer: TypeAlias = Verdict | Classification


def open_judge(
    path: str | os.PathLike[str],
    *,
    level: str | None = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    threshold: float | None = None,
    reading: Reading = DEFAULT_READING,
    policy: Policy | None = None,
    shadow: Policy | None = None,
    responses: Policy | None = None,
) -> Judge:
    """Open a bundle that judges texts; arguments and errors are those of `open_any`.

    Raises:
        BundleError: as of `open_any`; or it is a token level, which judges no text.
    """
    opened = open_any(
        path,
        level=level,
        engine=engine,
        threshold=threshold,
        reading=reading,
        policy=policy,
        shadow=shadow,
        responses=responses,
    )
    if isinstance(opened, TokenClassifier):
        raise BundleError(
            f"{opened.level} of {opened.model.bundle} is a token level, which gives spans of a "
            "text and no answer on it: ask for them with hazgate classify or TokenClassifier.find, "
            "or build it beside a cascade, whose verdicts carry them"
        )
    return opened


def open_any(
    path: str | os.PathLike[str],
    *,
    level: str | None = None,
    engine: EngineOptions = DEFAULT_ENGINE,
    threshold: float | None = None,
    reading: Reading = DEFAULT_READING,
    policy: Policy | None = None,
    shadow: Policy | None = None,
    responses: Policy | None = None,
) -> Judge | TokenClassifier:
    """Open a bundle as its gate if anything in it says what to flag, else as a level.

    Args:
        path: a bundle directory.
        level: the level to open alone; needed where there are several and no cascade.
        engine: as of `Gate.open`.
        threshold: as of `Gate.open`.
        reading: as of `Gate.open`.
        policy: as of `Gate.open`.
        shadow: as of `Gate.open`.
        responses: as of `Gate.open`.

    Raises:
        BundleError: as of `Gate.open`; or a threshold or policy is given for a level that states
            no positive label, or for a token level.
    """
    opened = Engine.of(engine)
    bundle, variant = open_for(path, engine.variant, opened.placement.spec)
    if level is None and bundle.manifest.cascade is not None:
        return Gate.of_cascade(
            bundle,
            variant=variant,
            engine=opened,
            threshold=threshold,
            reading=reading,
            policy=policy,
            shadow=shadow,
            responses=responses,
        )
    name = bundle.manifest.level_named(level)
    given = any(each is not None for each in (threshold, policy, shadow, responses))
    if bundle.manifest.levels[name].per_token:
        if given:
            raise BundleError(
                f"{name} is a token level, which gives spans of a text and flags none: leave the "
                "threshold and the policies out, or build it beside a cascade"
            )
        return TokenClassifier.of(bundle, name, variant=variant, engine=opened, reading=reading)
    alone = Classifier.of(bundle, name, variant=variant, engine=opened, reading=reading)
    if alone.positive is not None:
        return Gate.of_level(
            alone, threshold=threshold, policy=policy, shadow=shadow, responses=responses
        )
    if given:
        raise BundleError(
            f"{no_verdicts(alone)}: leave the threshold and the policies out, or export it with "
            "`positive`"
        )
    return alone


def open_gate(
    path: str | os.PathLike[str],
    *,
    engine: EngineOptions = DEFAULT_ENGINE,
    threshold: float | None = None,
    reading: Reading = DEFAULT_READING,
    policy: Policy | None = None,
) -> Gate:
    """Open a bundle as a gate: of its cascade, or of its one level with a positive label.

    Args:
        path: a bundle directory.
        engine: as of `Gate.open`.
        threshold: as of `Gate.open`.
        reading: as of `Gate.open`.
        policy: as of `Gate.open`.

    Raises:
        BundleError: as of `open_judge`; or the level states no positive label.
    """
    judge = open_judge(path, engine=engine, threshold=threshold, reading=reading, policy=policy)
    if isinstance(judge, Gate):
        return judge
    raise BundleError(
        f"{no_verdicts(judge)}: ask for its labels with hazgate classify, or export it with "
        "`positive`"
    )


def no_verdicts(level: Classifier) -> str:
    """Say that a level gives no verdicts, for errors."""
    return f"level {level.level} states no positive label, so nothing says what to flag"


def gate_of(judge: Judge) -> Gate:
    """Return a judge that is a gate.

    Raises:
        InputError: it is a level that gives labels only. Nothing that needs a verdict has an answer
            then, and none of it ever lets a text pass.
    """
    if isinstance(judge, Gate):
        return judge
    raise InputError(f"{no_verdicts(judge)}; ask /classify, /predict or /v2 for its labels")


def gate_with_hazards(judge: Judge, *, need: str = "this") -> Gate:
    """Return a judge that is the gate of a cascade.

    Args:
        judge: an open judge.
        need: what needs the hazards, as the subject of a sentence.

    Raises:
        BundleError: it has one level, and so no hazards.
    """
    if not isinstance(judge, Gate):
        raise BundleError(f"{no_verdicts(judge)}, and {need} needs a cascade of two levels")
    if judge.hazard_level is None:
        raise BundleError(
            f"{judge.model.bundle} is served as one level, {judge.level1.level}, and {need} needs "
            "the hazards of a second one: open a bundle with a cascade"
        )
    return judge


def verdict_of(answer: Answer) -> Verdict:
    """Return an answer that is a verdict.

    Raises:
        InputError: it is no verdict; such an answer must never pass for one.
    """
    if isinstance(answer, Verdict):
        return answer
    raise InputError(f"level {answer.level} gives labels and no verdicts")


def labels_of(answer: Answer, judge: Judge) -> Classification:
    """Return the labels behind an answer of `judge`: of a gate, those of its Level 1."""
    if isinstance(answer, Classification):
        return answer
    level = level_of(judge)
    return classification_of(answer, level.level, level.head)


def check_scores_suffice(
    judge: Judge, answers: Sequence[Answer], tenant: str | None = None
) -> None:
    """Refuse an answer of scores alone where they say nothing: the text would pass for safe.

    Raises:
        InputError: a text is mostly unknown to the tokenizer, or in a language that the bundle does
            not vouch for, and the gate's policy does not allow such texts; says how many.
    """
    if not isinstance(judge, Gate):
        return
    n_unknown = sum(not answer.understood for answer in answers)
    n_unvouched = sum(answer.language is not None for answer in answers)
    if n_unvouched and judge.unread_action([UNVOUCHED_LANGUAGE], tenant=tenant) != "allow":
        raise InputError(
            f"{n_unvouched} of {len(answers)} texts are in a language that the bundle does not "
            "vouch for, and scores alone cannot say so; ask /v1/check"
        )
    if n_unknown and judge.unread_action([UNKNOWN_WORDS], tenant=tenant) != "allow":
        raise InputError(
            f"{n_unknown} of {len(answers)} texts not understood: most of each is unknown to the "
            "tokenizer, and scores alone cannot say so; ask /v1/check"
        )


def level_of(judge: Judge) -> Classifier:
    """Return the level whose labels a judge names: of a gate, its Level 1."""
    return judge.level1 if isinstance(judge, Gate) else judge


def levels_of(judge: Judge) -> tuple[Classifier, ...]:
    """Return the open levels of a judge, in the order in which they read a text."""
    return judge.levels if isinstance(judge, Gate) else (judge,)
