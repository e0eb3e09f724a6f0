"""The verdict on a text, and its parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hazgate.judging.decision import Action, Severity
from hazgate.judging.speech import UNKNOWN_WORDS, UNVOUCHED_LANGUAGE, UnreadKind

# The mark of a text in a language that the bundle does not vouch for.
Language = Literal["unvouched"]
UNVOUCHED: Language = "unvouched"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelIdentity:
    """The weights, the arithmetic and the provider that gave an answer."""

    bundle: str
    digest: str
    variant: str
    provider: str

    def to_dict(self) -> dict[str, Any]:
        """Return the identity as plain JSON values."""
        return {
            "bundle": self.bundle,
            "digest": self.digest,
            "variant": self.variant,
            "provider": self.provider,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenCount:
    """Counts of the text's own tokens in all, of those that were read, and of the windows.

    `unknown` of those read are the tokenizer's token for what it does not know.
    """

    total: int
    read: int
    unknown: int
    windows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {
            "total": self.total,
            "read": self.read,
            "unknown": self.unknown,
            "windows": self.windows,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Characters of a text from `start` to before `end`."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSpan:
    """Characters of a text, in code points from `start` to before `end`, and their label.

    `score` is the mean, over the tokens of the span, of the probability of its label, in (0, 1].
    """

    label: str
    start: int
    end: int
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the span as plain JSON values."""
        return {"label": self.label, "start": self.start, "end": self.end, "score": self.score}


def _moved(spans: Iterable[LabelledSpan], by: int) -> tuple[LabelledSpan, ...]:
    return tuple(replace(span, start=span.start + by, end=span.end + by) for span in spans)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewsRead:
    """The views of a disguised text, beside which it was read.

    `decided` names the view that has the highest P(unsafe), None if that is the text as written,
    whose own P(unsafe) is `as_written`. `read` names the views that were read, and `left_out`
    those that were not read to their end, and kinds of disguise that are in them still.
    """

    decided: str | None
    as_written: float
    read: tuple[str, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the names and the probability as plain JSON values."""
        return {
            "decided": self.decided,
            "as_written": self.as_written,
            "read": list(self.read),
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelResult:
    """The result of one level beside the cascade on a text.

    `scores` has the probability of each label, in the level's order; `labels` names those that
    hold, the most probable first. `flagged` is True if the level's positive label reached its
    threshold or, without a positive label, if any label of a multi-label level holds. It is None
    if the level looks for nothing: a softmax level without a positive label. If most of the text is
    unknown to the tokenizer, no score says anything: a level that looks for something is flagged,
    and of a softmax level the positive label holds.

    `thresholds` has the probability, in the bundle, from which each label that the level looks for
    holds; it is no part of `to_dict`.

    Of a token level, `spans` has what it found, in the order of the text. Its labels are the types
    of spans, the score of one is the greatest of its spans, 0 without any, and it is flagged by any
    span. Of other levels `spans` is None. `whole` is False if a token level did not read all of the
    text, or its tokenizer knows too little of it: there may be spans that it did not find. It is no
    part of `to_dict`.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, float]
    flagged: bool | None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[LabelledSpan, ...] | None = None
    whole: bool = True

    def moved(self, by: int) -> "LevelResult":
        """Return the result with its spans so many characters further on."""
        return self if self.spans is None else replace(self, spans=_moved(self.spans, by))

    def to_dict(self) -> dict[str, Any]:
        """Return labels, scores, `flagged` and, of a token level, `spans` as plain JSON values."""
        spans = None if self.spans is None else [span.to_dict() for span in self.spans]
        return {
            "labels": list(self.labels),
            "scores": dict(self.scores),
            "flagged": self.flagged,
            **({} if spans is None else {"spans": spans}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyIdentity:
    """The rules that decided: a policy, the digest of its file, and the tenant."""

    name: str
    digest: str
    tenant: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyDecision:
    """A policy's decision on a text; see hazgate.judging.decision.Decision.

    `levels` names the levels beside the cascade whose rules asked for `action`, in the order of the
    policy. If `hazards` is empty and `levels` is not, levels alone led to the action.

    If `action` is "mask", `masks_window` is True if the cascade asked for it, so that the verdict's
    `span` is to be replaced, and `spans` has what token levels found and their rules mask, in the
    order of the text; those of several levels may overlap.
    """

    policy: PolicyIdentity
    action: Action
    severity: Severity
    hazards: tuple[str, ...]
    levels: tuple[str, ...] = ()
    masks_window: bool = False
    spans: tuple[LabelledSpan, ...] = ()

    def moved(self, by: int) -> "PolicyDecision":
        """Return the decision with its spans so many characters further on."""
        return replace(self, spans=_moved(self.spans, by))

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON values.

        `levels` is left out if no level asked for the action, `masks` if none has spans to mask.
        """
        spans = [span.to_dict() for span in self.spans]
        return {
            "action": self.action,
            "severity": self.severity,
            "hazards": list(self.hazards),
            **({"levels": list(self.levels)} if self.levels else {}),
            **({"masks": {"window": self.masks_window, "spans": spans}} if spans else {}),
            "policy": {
                "name": self.policy.name,
                "digest": self.policy.digest,
                "tenant": self.policy.tenant,
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verdict on one text.

    `unsafe` is P(unsafe) in [0, 1]: of Level 1's positive label, or of the one level's that there
    is. `scores` has the probability of each label of that level. `flagged` is True if `unsafe`
    reached the threshold or, under a policy, if the policy flags or blocks the text. `hazard` is
    the most probable hazard and `hazards` the probability of each, in the level's order; both are
    None unless Level 1 flagged the text or the caller asked for all levels. `detected` names the
    hazards that hold, the most probable first: every one of a multi-label level whose probability
    reaches its threshold in the bundle, also none; otherwise `hazard` alone.

    If a text has several windows, `unsafe` is the highest P(unsafe) of a window, and `span` gives
    that window's characters. Each hazard has its highest probability over the windows that Level
    1 flagged (if it flagged none, in that of `span`), so they may sum to more than one. `scores`
    are those of the window of `span`; of a multi-label level, each label's highest. The
    hazards of a multi-label level are independent and need not sum to one. `truncated` is True if
    the end of the text was not read. `understood` is False if most of it, or of one of its windows,
    is unknown to the tokenizer (see `hazgate.text.unknown`): then no score says anything. Such a
    text is flagged, or what the policy's `unread` says of `unknown_words` is done.

    `language` is "unvouched" if the text is in a language that the bundle does not vouch for, see
    `hazgate.text.languages`: nobody has shown that its scores say anything. It changes nothing
    else here, unless the policy's `unread` says otherwise of `unvouched_language`.

    A disguised text is also read as a person reads it, in its `views`; the highest P(unsafe) of all
    is `unsafe`, and `span` has the characters as written. Without a disguise `views` is None.

    `levels` has the result of each level beside the cascade that was asked for or that a policy
    needs. Without a policy they change nothing else here, `flagged` least of all: a policy says
    what becomes of a text that such a level flags.

    `decided_after` is the number of layers after which Level 1 was decided, if every window left
    its graph early: the greatest of the windows'. `unsafe` and `scores` are then those of a probe,
    and the text is not flagged. None if any window was read whole.

    `decision` is the policy's decision, None without one. `shadow` is the decision of a policy on
    trial: it changes nothing else here.
    """

    flagged: bool
    unsafe: float
    scores: Mapping[str, float]
    hazard: str | None
    hazards: Mapping[str, float] | None
    detected: tuple[str, ...] | None
    tokens: TokenCount
    truncated: bool
    understood: bool
    views: ViewsRead | None
    span: Span
    decision: PolicyDecision | None
    shadow: PolicyDecision | None
    levels: Mapping[str, LevelResult] = field(default_factory=dict)
    decided_after: int | None = None
    model: ModelIdentity
    language: Language | None = None

    @property
    def unread_kinds(self) -> tuple[UnreadKind, ...]:
        """The kinds of `unread` in a policy that the text is of; none if it was read and known."""
        kinds: list[UnreadKind] = [] if self.understood else [UNKNOWN_WORDS]
        if self.language is not None:
            kinds.append(UNVOUCHED_LANGUAGE)
        return tuple(kinds)

    def moved(self, by: int) -> "Verdict":
        """Return the verdict on a part of a text with the characters of the whole text.

        Args:
            by: characters before the part.
        """
        return replace(
            self,
            span=Span(start=self.span.start + by, end=self.span.end + by),
            decision=None if self.decision is None else self.decision.moved(by),
            shadow=None if self.shadow is None else self.shadow.moved(by),
            levels={name: level.moved(by) for name, level in self.levels.items()},
        )

    @property
    def confidences(self) -> Mapping[str, float] | None:
        """P(unsafe and of that hazard) for each hazard.

        `hazards` are conditional on the text being unsafe; times P(unsafe), each can be compared
        with a threshold by itself.
        """
        if self.hazards is None:
            return None
        return {name: self.unsafe * score for name, score in self.hazards.items()}

    def to(self, taxonomy: str) -> dict[str, float]:
        """Return the score of every category of a taxonomy, see hazgate.judging.taxonomy.

        Raises:
            InputError: there is no taxonomy of that name.
            BundleError: the taxonomy does not know these hazards.
        """
        from hazgate.judging.taxonomy import load_taxonomy, translate

        return translate(load_taxonomy(taxonomy), self.hazards)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values, in the order of the fields.

        `levels` is left out if it is empty, `decided_after` if it is None, `language` if the text
        is not marked.
        """
        after = self.decided_after
        levels = {name: result.to_dict() for name, result in self.levels.items()}
        return {
            "flagged": self.flagged,
            "unsafe": self.unsafe,
            "scores": dict(self.scores),
            "hazard": self.hazard,
            "hazards": None if self.hazards is None else dict(self.hazards),
            "detected": None if self.detected is None else list(self.detected),
            "tokens": self.tokens.to_dict(),
            "truncated": self.truncated,
            "understood": self.understood,
            **({} if self.language is None else {"language": self.language}),
            "views": None if self.views is None else self.views.to_dict(),
            "span": {"start": self.span.start, "end": self.span.end},
            "decision": None if self.decision is None else self.decision.to_dict(),
            "shadow": None if self.shadow is None else self.shadow.to_dict(),
            **({"levels": levels} if levels else {}),
            **({} if after is None else {"decided_after": after}),
            "model": self.model.to_dict(),
        }
