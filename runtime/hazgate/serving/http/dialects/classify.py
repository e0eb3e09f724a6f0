"""`POST /classify` of two dialects; the key in the body tells them apart.

`{"inputs": text}` is semantic-router's `http_classify`: a bare array. Its contract
`label_distribution.v1` has every label once, with scores that sum to one (not those of a
multi-label level); `score.v1` has one entry,
whose score is P(unsafe). semantic-router keeps the contract and the deadline in its own settings
and sends neither, so the server's settings choose the contract of requests that name none.
`{"input": text | texts}` is vLLM's: probabilities in the labels' order.

Source: vllm-project/semantic-router, `pkg/classification/http_classifier.go` and
`complexity_remote_backend.go`; vLLM's `ClassificationRequest`.
"""

import math
import time
import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hazgate.judge import check_scores_suffice
from hazgate.judging.classification import Classification
from hazgate.serving.http.dialects.inputs import PROBABILITIES, WHOLE, check_texts, only
from hazgate.serving.http.dialects.openai import OPENAI_REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service
from hazgate.serving.settings import ClassifyContract

_SPECIAL = "is not supported: the model needs its special tokens; leave it out"
_PRIORITY = "is not supported: callers take turns; leave it out"
_MESSAGES = "is not read here: send a text as input, or the messages to /v1/check"
_ROUTER_OPTIONS = ("contract", "deadline_ms")


class ClassifyRequest(BaseModel):
    """Exactly one of `inputs` (semantic-router) and `input` (vLLM).

    `model`, `user` and `request_id` are names and no texts; they change nothing.
    """

    model_config = ConfigDict(extra="forbid")

    inputs: str | None = None
    input: str | list[str] | None = None
    model: str | None = None
    contract: ClassifyContract | None = Field(
        default=None, description="Form of the answer to `inputs`; None takes the setting."
    )
    deadline_ms: float | None = Field(
        default=None, gt=0, description="Milliseconds for which an answer to `inputs` is of use."
    )
    user: str | None = None
    request_id: str | None = None
    messages: Annotated[list[object] | None, only(None, reason=_MESSAGES)] = None
    truncate_prompt_tokens: Annotated[int | None, only(None, reason=WHOLE)] = None
    truncation_side: Annotated[str | None, only(None, reason=WHOLE)] = None
    add_special_tokens: Annotated[bool | None, only(None, True, reason=_SPECIAL)] = None
    use_activation: Annotated[bool | None, only(None, True, reason=PROBABILITIES)] = None
    activation: Annotated[bool | None, only(None, True, reason=PROBABILITIES)] = None
    softmax: Annotated[bool | None, only(None, True, reason=PROBABILITIES)] = None
    priority: Annotated[int | None, only(None, 0, reason=_PRIORITY)] = None

    @model_validator(mode="after")
    def _one_dialect(self) -> "ClassifyRequest":
        if (self.inputs is None) == (self.input is None):
            raise ValueError(
                "expected exactly one of inputs (a text) and input (a text or several)"
            )
        set_ = [name for name in _ROUTER_OPTIONS if getattr(self, name) is not None]
        if self.inputs is None and set_:
            raise ValueError(f"{', '.join(set_)} belong to inputs, and input was sent")
        return self


class LabelScore(BaseModel):
    """A label and its score."""

    label: str
    score: float


class Classified(BaseModel):
    """One text's result in vLLM's form: `probs` in the order of the labels."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class Usage(BaseModel):
    """Counts of the tokens read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class ClassifyResponse(BaseModel):
    """vLLM's answer."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Classified]
    usage: Usage


def router(service: Service) -> APIRouter:
    """Return the routes `POST /classify` and `/v1/classify`."""
    routes = APIRouter(tags=["semantic-router and vLLM"], responses=OPENAI_REFUSALS)

    @routes.post("/classify", summary="semantic-router (`inputs`) or vLLM (`input`)")
    @routes.post("/v1/classify", include_in_schema=False)
    async def classify(
        body: ClassifyRequest, request: Request
    ) -> list[LabelScore] | ClassifyResponse:
        caller = request.state.caller
        if body.inputs is not None:
            check_texts([body.inputs], "inputs")
            timeout_s = math.inf if body.deadline_ms is None else body.deadline_ms / 1000
            # The answer is a score: the caller has a threshold of its own.
            ask = Ask(texts=[body.inputs], whole=True, caller=caller, timeout_s=timeout_s)
            if (body.contract or service.settings.classify_contract) == "score.v1":
                positive = service.gate.unsafe_label
                (verdict,) = await service.check(ask, route="http_classify")
                check_scores_suffice(service.judge, [verdict], service.tenant_of(caller))
                return [LabelScore(label=positive, score=verdict.unsafe)]
            (answer,) = await service.classify(ask, route="http_classify")
            check_scores_suffice(service.judge, [answer], service.tenant_of(caller))
            return label_scores(answer)
        texts = [body.input] if isinstance(body.input, str) else (body.input or [])
        check_texts(texts, "input")
        answers = await service.classify(Ask(texts=texts, caller=caller), route="classify")
        check_scores_suffice(service.judge, answers, service.tenant_of(caller))
        n_tokens = sum(answer.tokens.read for answer in answers)
        return ClassifyResponse(
            id=f"classify-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=service.model.bundle,
            data=[_classified(i, label_scores(answer)) for i, answer in enumerate(answers)],
            usage=Usage(prompt_tokens=n_tokens, total_tokens=n_tokens),
        )

    return routes


def label_scores(answer: Classification) -> list[LabelScore]:
    """Return the scores of the labels in their order; of a gate, Level 1's.

    A score is a probability, never the confidence of the likelier label. They sum to one, unless
    the level is multi-label.
    """
    return [LabelScore(label=label, score=score) for label, score in answer.scores.items()]


def _classified(index: int, scores: list[LabelScore]) -> Classified:
    best = max(scores, key=lambda item: item.score)
    return Classified(
        index=index,
        label=best.label,
        probs=[item.score for item in scores],
        num_classes=len(scores),
    )
