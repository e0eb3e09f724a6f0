"""The cascade: every text through Level 1, what it flags through Level 2, verdicts out."""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import ConversationSpec
from hazgate.cascade import open_levels
from hazgate.classifier import (
    DEFAULT_ENGINE,
    DEFAULT_READING,
    Classifier,
)
from hazgate.engine.engine import Engine
from hazgate.engine.logit_store import DEFAULT_STORE, LogitStore
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError, InputError
from hazgate.judging.decision import Action
from hazgate.judging.early import Coverage, coverage_of, every_terms, flags_from
from hazgate.judging.judgement import Heads, Terms, judge, terms_of, windows_to_read
from hazgate.judging.policy import Policy
from hazgate.judging.speech import UNVOUCHED_LANGUAGE, Role, Side, UnreadKind, role_named
from hazgate.judging.verdict import ModelIdentity, Verdict
from hazgate.level_runs import LevelRuns
from hazgate.opening import open_for
from hazgate.questions import Question, questions
from hazgate.text.conversation import ConversationVerdict, Message, Scope, conclude, texts_of
from hazgate.text.growing import DueWindow
from hazgate.text.reading import Reading
from hazgate.text.tokenization import Tokens, as_texts
from hazgate.text.watch import Watch
from hazgate.token_classifier import TokenClassifier
from hazgate.verdicts import verdict_on

AnyLevel = TypeVar("AnyLevel", Classifier, TokenClassifier)


class LevelChange(Protocol):
    """A function that changes a level of either kind, e.g. to count its runs."""

    def __call__(self, level: AnyLevel, /) -> AnyLevel:
        """Return the changed level."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A safety gate over one bundle. Thread-safe; build it once and share it.

    `hazard_level` is Level 2; without it, this is the gate of one level, see `of_level`. `beside`
    has the bundle's levels that are not in the cascade, by name, and `token_levels` those that find
    spans. `store` keeps logits for `check` and its relatives, see `EngineOptions`; None keeps
    nothing.
    """

    bundle: Bundle
    level1: Classifier
    hazard_level: Classifier | None
    threshold: float
    reading: Reading = DEFAULT_READING
    policy: Policy | None = None
    shadow: Policy | None = None
    responses: Policy | None = None
    store: LogitStore | None = None
    beside: Mapping[str, Classifier] = field(default_factory=dict)
    token_levels: Mapping[str, TokenClassifier] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        engine: EngineOptions = DEFAULT_ENGINE,
        threshold: float | None = None,
        reading: Reading = DEFAULT_READING,
        policy: Policy | None = None,
        shadow: Policy | None = None,
        responses: Policy | None = None,
    ) -> "Gate":
        """Verify the bundle at `path` and load its levels.

        Only the files that the chosen variant needs are hashed.

        Args:
            path: a bundle directory.
            engine: the variant, the provider and the threads.
            threshold: P(unsafe) from which a text is flagged; None takes the bundle's.
            reading: the treatment of texts that are longer than one window.
            policy: decides in place of a threshold; see `hazgate.Policy`.
            shadow: a policy whose decision is only reported next to the other.
            responses: decides on a model's answers in place of `policy`.

        Raises:
            BundleError: the bundle, the variant or the provider cannot be served, or the bundle
                has no cascade; the subclass and the message say which, and what to do.
        """
        opened = Engine.of(engine)
        bundle, variant = open_for(path, engine.variant, opened.placement.spec)
        return cls.of_cascade(
            bundle,
            variant=variant,
            engine=opened,
            threshold=threshold,
            reading=reading,
            policy=policy,
            shadow=shadow,
            responses=responses,
        )

    @classmethod
    def of_cascade(
        cls,
        bundle: Bundle,
        *,
        variant: str,
        engine: Engine,
        threshold: float | None,
        reading: Reading,
        policy: Policy | None,
        shadow: Policy | None,
        responses: Policy | None,
    ) -> "Gate":
        """Load the levels of an open bundle; see `open`."""
        cascade = bundle.manifest.cascade_for("Gate.open")
        limit = _threshold(cascade.threshold, threshold, policy)
        levels = open_levels(bundle, variant, engine, reading)
        beside = dict(levels.texts)
        return cls(
            bundle=bundle,
            level1=beside.pop(cascade.level1),
            hazard_level=beside.pop(cascade.level2),
            threshold=limit,
            reading=reading,
            store=engine.store,
            beside=beside,
            token_levels=levels.tokens,
        ).with_policy(policy, shadow=shadow, responses=responses)

    @classmethod
    def of_level(
        cls,
        level: Classifier,
        *,
        threshold: float | None = None,
        policy: Policy | None = None,
        shadow: Policy | None = None,
        responses: Policy | None = None,
    ) -> "Gate":
        """Make a gate of one level that states its positive label, such as a jailbreak's.

        Its verdicts have no hazards; of a policy, the thresholds and the default action decide.

        Args:
            level: an open level; its reading becomes the gate's.
            threshold: as of `open`.
            policy: as of `open`.
            shadow: as of `open`.
            responses: as of `open`.

        Raises:
            BundleError: the level states no positive label, so that nothing says what to flag; or
                as of `open`.
        """
        if level.positive is None:
            raise BundleError(
                f"level {level.level} of {level.model.bundle} states no positive label, so nothing "
                "says what to flag: use Classifier.classify, or export it with `positive`"
            )
        return cls(
            bundle=level.bundle,
            level1=level,
            hazard_level=None,
            threshold=_threshold(level.positive.threshold, threshold, policy),
            reading=level.reading,
            store=level.store,
        ).with_policy(policy, shadow=shadow, responses=responses)

    def with_policy(
        self,
        policy: Policy | None,
        *,
        shadow: Policy | None = None,
        responses: Policy | None = None,
    ) -> "Gate":
        """Return a gate of the same models under other policies, to swap in while serving.

        Raises:
            PolicyError: a policy names hazards or levels that the bundle does not have.
        """
        beside = {name: level.head for name, level in self.beside.items()}
        beside |= {name: level.head for name, level in self.token_levels.items()}
        for one in (policy, shadow, responses):
            if one is not None:
                one.check_labels(self.hazards)
                one.check_levels(beside)
        return dataclasses.replace(self, policy=policy, shadow=shadow, responses=responses)

    def policy_for(self, side: Side) -> Policy | None:
        """Return the policy that decides on requests, or on responses."""
        return self.responses if side == "response" and self.responses else self.policy

    def unread_action(
        self, kinds: Collection[UnreadKind], *, side: Side = "request", tenant: str | None = None
    ) -> Action:
        """Return the action on a body with parts of these kinds, which nobody could read.

        Without a policy any such part blocks; a text in a language that is not vouched for is
        none, for it was read.

        Raises:
            InputError: no policy names the tenant.
        """
        policy = self.policy_for(side)
        if policy is None:
            return "block" if set(kinds) - {UNVOUCHED_LANGUAGE} else "allow"
        return policy.unread_action(kinds, tenant)

    @property
    def level2(self) -> Classifier:
        """The level of the hazards.

        Raises:
            BundleError: this is the gate of one level.
        """
        if self.hazard_level is None:
            raise BundleError(
                f"{self.model.bundle} is served as one level, {self.level1.level}, and this needs "
                "the hazards of a second one: open a bundle with a cascade"
            )
        return self.hazard_level

    @property
    def model(self) -> ModelIdentity:
        """The identity of the model that answers."""
        return self.level1.model

    @property
    def labels(self) -> tuple[str, ...]:
        """Level 1's labels, in the order of its logits."""
        return self.level1.labels

    @property
    def unsafe_label(self) -> str:
        """The label of Level 1 whose probability is P(unsafe)."""
        assert self.level1.positive is not None
        return self.level1.positive.label

    @property
    def hazards(self) -> tuple[str, ...]:
        """Names of the hazards that Level 2 scores; none without it."""
        return () if self.hazard_level is None else self.hazard_level.labels

    @property
    def levels(self) -> tuple[Classifier, ...]:
        """The open levels that label texts, in the order in which they read a text."""
        hazards = () if self.hazard_level is None else (self.hazard_level,)
        return (self.level1, *hazards, *self.beside.values())

    @property
    def names_beside(self) -> tuple[str, ...]:
        """Names of the levels that are not in the cascade, token levels included."""
        return (*self.beside, *self.token_levels)

    def each_level(self, change: LevelChange) -> "Gate":
        """Return a gate of the same levels, each changed, e.g. to count its runs."""
        return dataclasses.replace(
            self,
            level1=change(self.level1),
            hazard_level=None if self.hazard_level is None else change(self.hazard_level),
            beside={name: change(level) for name, level in self.beside.items()},
            token_levels={name: change(level) for name, level in self.token_levels.items()},
        )

    @property
    def conversation(self) -> ConversationSpec:
        """The bundle's format for a conversation that is read as one text."""
        return self.bundle.manifest.conversation

    def check(
        self,
        text: str,
        *,
        all_levels: bool = False,
        levels: Collection[str] = (),
        tenant: str | None = None,
        role: Role | None = None,
        side: Side = "request",
    ) -> Verdict:
        """Return the verdict on one text; see `check_many`."""
        roles = None if role is None else [role]
        return self.check_many(
            [text], all_levels=all_levels, levels=levels, tenant=tenant, roles=roles, side=side
        )[0]

    def check_many(
        self,
        texts: Sequence[str],
        *,
        all_levels: bool = False,
        levels: Collection[str] = (),
        tenant: str | None = None,
        roles: Sequence[Role | None] | None = None,
        side: Side = "request",
        whole: bool = False,
    ) -> list[Verdict]:
        """Return the verdict on each text, in the order given.

        A text longer than one window of the model is read in several windows, see `Reading`; the
        most unsafe window decides.

        Args:
            texts: any number of strings; an empty string is a text like any other.
            all_levels: score the hazards of texts that Level 1 did not flag, too.
            levels: names of levels beside the cascade to answer, too; those that the policy has
                rules for are answered in any case.
            tenant: the tenant whose policy rules decide; None takes the policy's own rules.
            roles: who speaks in each text, for the policy's rules by role; None for nobody known.
            side: "response" asks the policy of responses, if the gate has one.
            whole: let no text leave early, for its scores themselves are the answer; it matters to
                variants with early exits alone.

        Raises:
            InputError: an element is not a well-formed string, or is too long; the message says
                which. Or no policy names the tenant, or there is no such level.
            InferenceError: a model failed or gave a logit that is not finite.
        """
        asked = self.ask(
            texts,
            all_levels=all_levels,
            levels=levels,
            tenant=tenant,
            roles=roles,
            side=side,
            store=self.store,
            whole=whole,
        )
        return self.answer(asked, store=self.store)

    def ask(
        self,
        texts: Sequence[str],
        *,
        all_levels: bool = False,
        levels: Collection[str] = (),
        tenant: str | None = None,
        roles: Sequence[Role | None] | None = None,
        side: Side = "request",
        caller: str = "",
        tokens: Sequence[Tokens | None] = (),
        store: LogitStore | None = None,
        whole: bool = False,
    ) -> list[Question]:
        """Check and tokenise texts without running a model: the first half of `check_many`.

        Args:
            texts: as in `check_many`.
            all_levels: as in `check_many`.
            levels: as in `check_many`.
            tenant: as in `check_many`.
            roles: as in `check_many`.
            side: as in `check_many`.
            caller: the name of who asks, for a store of logits.
            tokens: of texts that this gate's tokenizer has read already; empty for none.
            store: knows the windows of texts that it has; None tokenises all.
            whole: as in `check_many`.

        Raises:
            InputError: as in `check_many`.
        """
        texts = as_texts(texts)
        speakers = [None] * len(texts) if roles is None else roles
        policy = self.policy_for(side)
        terms = {
            role: tuple(terms_of(self.threshold, policy, self.shadow, tenant, role))
            for role in {*speakers, None}
        }
        may_leave = not (whole or all_levels)
        from_ = {role: self._flags_from(terms[role]) if may_leave else None for role in terms}
        needed = {name for of_role in terms.values() for one in of_role for name in one.level_names}
        return questions(
            texts,
            self.level1.tokenizer,
            self.reading,
            terms=[terms[role] for role in speakers],
            all_levels=all_levels,
            levels=self._levels_named(levels, needed),
            owner=(caller, tenant),
            tokens=tokens,
            known=self._reader.known(store),
            views=self.reading.views,
            vouching=self.level1.vouching,
            flags_from=[from_[role] for role in speakers],
        )

    def answer(
        self, asked: Sequence[Question], *, store: LogitStore | None = None
    ) -> list[Verdict]:
        """Run the models on questions from this gate's `ask`: the second half of `check_many`.

        Args:
            asked: the questions.
            store: gives and keeps logits; None runs the models on everything.

        Raises:
            InferenceError: as in `check_many`.
        """
        heads = self._heads
        runs = LevelRuns.of(self._reader, asked, store)
        level1_logits = runs.level1_logits()
        to_read = [
            [
                windows_to_read(one, logits, heads, all_levels=question.all_levels)
                for one in question.terms
            ]
            for question, logits in zip(asked, level1_logits, strict=True)
        ]
        every = [sorted({k for one in of_text for k in one}) for of_text in to_read]
        hazards = self.hazard_level
        level2_logits = {} if hazards is None else runs.logits_by_window(hazards, every)
        beside = runs.results(self.beside, self.token_levels)
        decided_after = runs.decided_after()
        return [
            verdict_on(
                question,
                [
                    judge(
                        one,
                        level1_logits[i],
                        heads,
                        _rows(level2_logits, i, windows),
                        levels=beside[i],
                        understood=question.tokens.understood,
                        vouched=question.language is None,
                        n_views=len(question.tokens.views),
                    )
                    for one, windows in zip(question.terms, to_read[i], strict=True)
                ],
                beside[i],
                labels=self.labels,
                model=self.model,
                decided_after=decided_after[i],
            )
            for i, question in enumerate(asked)
        ]

    def check_messages(
        self,
        messages: Sequence[Message],
        *,
        scope: Scope = "each",
        all_levels: bool = False,
        tenant: str | None = None,
    ) -> ConversationVerdict:
        """Return the verdict on a conversation.

        Args:
            messages: the turns, oldest first; see `hazgate.parse_messages`.
            scope: "each" reads every turn by itself, "last" reads the last turn only, "whole"
                reads all turns as one text in the bundle's format.
            all_levels: as in `check_many`.
            tenant: as in `check_many`.

        Raises:
            InputError: there is no message, or one cannot be read; the message says which.
            InferenceError: as in `check_many`.
        """
        texts = texts_of(messages, scope, self.conversation)
        roles: list[Role | None] = [role_named(message.role) for message in messages]
        if scope != "each":
            roles = [None] if scope == "whole" else roles[-1:]
        verdicts = self.check_many(texts, all_levels=all_levels, tenant=tenant, roles=roles)
        return conclude(verdicts, scope, messages)

    def watch(
        self,
        *,
        stride_tokens: int | None = None,
        n_confirm: int = 1,
        tenant: str | None = None,
        check: Callable[[Sequence[DueWindow]], list[Verdict]] | None = None,
    ) -> Watch:
        """Watch a text that grows piece by piece, as a language model writes it.

        A gate without a store of logits makes one for the watch, so that its windows are read once
        if the variant is exact.

        Args:
            stride_tokens: new tokens between two checks; None begins with a quarter of a window
                and goes on to the next window of the whole text. Fewer react sooner and cost more.
            n_confirm: checks in a row that must flag the text.
            tenant: as in `check_many`.
            check: gives this gate's verdicts another way, e.g. through a queue.

        Raises:
            BundleError: either number is less than one.
        """
        store = self.store or LogitStore(DEFAULT_STORE)

        def check_here(windows: Sequence[DueWindow]) -> list[Verdict]:
            texts, tokens = ([part.text for part in windows], [part.tokens for part in windows])
            return self.answer(self.ask(texts, tenant=tenant, tokens=tokens), store=store)

        return Watch(
            check or check_here,
            self.level1.tokenizer,
            max_text_bytes=self.reading.max_text_bytes,
            stride_tokens=stride_tokens,
            n_confirm=n_confirm,
        )

    @property
    def coverage(self) -> Coverage | None:
        """The rules whose texts may leave Level 1 early; None if its variant has no exits."""
        exits = self.level1.exits
        return None if exits is None else self.coverage_under(exits.exits.claim.thresholds)

    def coverage_under(self, calibrated: Collection[float]) -> Coverage:
        """Return the rules whose texts might leave Level 1 early under a claim.

        Args:
            calibrated: P(unsafe) at temperature 1 for which the claim holds.
        """
        policies = [self.policy, *([] if self.responses is None else [self.responses])]
        return coverage_of(every_terms(self.threshold, policies, self.shadow), calibrated)

    def _flags_from(self, terms: Sequence[Terms]) -> float | None:
        """Return the log-odds from which a text is flagged, if it may leave early now."""
        exits = self.level1.exits
        if exits is None or not exits.on:
            return None
        return flags_from(terms, exits.exits.claim.thresholds)

    @property
    def _reader(self) -> Classifier:
        """Level 1, which treats long texts as this gate does."""
        if self.level1.reading == self.reading:
            return self.level1
        return dataclasses.replace(self.level1, reading=self.reading)

    @property
    def _heads(self) -> Heads:
        hazards = None if self.hazard_level is None else self.hazard_level.spec
        return Heads(
            level1=self.level1.spec.activation,
            positive=self.labels.index(self.unsafe_label),
            level2="softmax" if hazards is None else hazards.activation,
            hazard_labels=self.hazards,
            hazard_thresholds=() if hazards is None else hazards.label_thresholds,
        )

    def _levels_named(self, asked: Collection[str], needed: Collection[str]) -> tuple[str, ...]:
        """Return the levels beside the cascade that are asked for or needed, in their order.

        Raises:
            InputError: there is no such level.
        """
        if isinstance(asked, str):
            raise InputError("levels: expected a sequence of names, got one string")
        names = {*asked, *needed}
        unknown = sorted(names.difference(self.names_beside))
        if unknown:
            known = ", ".join(self.names_beside) or "none"
            raise InputError(
                f"no level {', '.join(map(repr, unknown))} beside the cascade; "
                f"{self.model.bundle} has {known}"
            )
        return tuple(name for name in self.names_beside if name in names)


def _rows(
    logits: Mapping[tuple[int, int], NDArray[np.float32]], text: int, windows: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Return the logits of a text's windows; none without a Level 2."""
    return [logits[text, k] for k in windows] if logits else []


def _threshold(stated: float, asked: float | None, policy: Policy | None) -> float:
    if policy is not None and asked is not None:
        raise BundleError("a policy has its own thresholds: give either policy or threshold")
    threshold = stated if asked is None else asked
    if not 0 < threshold < 1:
        raise BundleError(f"threshold must be between 0 and 1, got {threshold}")
    return threshold
