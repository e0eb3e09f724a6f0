"""`POST /classify` of two dialects; the key in the body tells them apart.

`{"inputs": text}` is semantic-router's `http_classify`: a bare array with every label once and
scores that sum to one. `{"input": text | texts}` is vLLM's: probabilities in the labels' order.
"""

import time
import uuid
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, model_validator

from hazgate.gate import Gate
from hazgate.judging.verdict import Verdict
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service


class ClassifyRequest(BaseModel):
    """Exactly one of `inputs` (semantic-router) and `input` (vLLM)."""

    model_config = ConfigDict(extra="ignore")

    inputs: str | None = None
    input: str | list[str] | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _one_dialect(self) -> "ClassifyRequest":
        if (self.inputs is None) == (self.input is None):
            raise ValueError(
                "expected exactly one of inputs (a text) and input (a text or several)"
            )
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
    routes = APIRouter(tags=["semantic-router and vLLM"], responses=REFUSALS)

    @routes.post("/classify", summary="semantic-router (`inputs`) or vLLM (`input`)")
    @routes.post("/v1/classify", include_in_schema=False)
    async def classify(
        body: ClassifyRequest, request: Request
    ) -> list[LabelScore] | ClassifyResponse:
        caller = request.state.caller
        gate = service.gate
        if body.inputs is not None:
            ask = Ask(texts=[body.inputs], caller=caller)
            (verdict,) = await service.check(ask, route="http_classify")
            return label_scores(verdict, gate)
        texts = [body.input] if isinstance(body.input, str) else (body.input or [])
        verdicts = await service.check(Ask(texts=texts, caller=caller), route="classify")
        n_tokens = sum(verdict.tokens.read for verdict in verdicts)
        return ClassifyResponse(
            id=f"classify-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=gate.model.bundle,
            data=[
                _classified(i, label_scores(verdict, gate)) for i, verdict in enumerate(verdicts)
            ],
            usage=Usage(prompt_tokens=n_tokens, total_tokens=n_tokens),
        )

    return routes


def label_scores(verdict: Verdict, gate: Gate) -> list[LabelScore]:
    """Return the scores of Level 1's labels in their order; they sum to one.

    A verdict has only P(unsafe) of Level 1; with two labels that is everything, with more the rest
    is divided equally. A score is a probability, never the confidence of the likelier label.
    """
    others = len(gate.labels) - 1
    return [
        LabelScore(
            label=label,
            score=verdict.unsafe if label == gate.unsafe_label else (1 - verdict.unsafe) / others,
        )
        for label in gate.labels
    ]


def _classified(index: int, scores: list[LabelScore]) -> Classified:
    best = max(scores, key=lambda item: item.score)
    return Classified(
        index=index,
        label=best.label,
        probs=[item.score for item in scores],
        num_classes=len(scores),
    )
