"""`POST /classify`, which two dialects claim: the key of the body tells them apart.

`{"inputs": text}` is semantic-router's `http_classify`: a bare array with every label once, whose
scores sum to one. `{"input": text | texts}` is vLLM's: labels' probabilities in their order.
"""

import time
import uuid
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, model_validator

from hazgate.judging.verdict import Verdict
from hazgate.serving.http.dialects.refusals import REFUSALS
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
    """One label."""

    label: str
    score: float


class Classified(BaseModel):
    """One text in vLLM's words: `probs` in the order of the labels."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class Usage(BaseModel):
    """How many tokens were read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class ClassifyResponse(BaseModel):
    """What vLLM answers."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Classified]
    usage: Usage


def router(service: Service) -> APIRouter:
    """`POST /classify` and `/v1/classify`."""
    routes = APIRouter(tags=["semantic-router and vLLM"], responses=REFUSALS)

    @routes.post("/classify", summary="semantic-router (`inputs`) or vLLM (`input`)")
    @routes.post("/v1/classify", include_in_schema=False)
    async def classify(
        body: ClassifyRequest, request: Request
    ) -> list[LabelScore] | ClassifyResponse:
        caller = request.state.caller
        gate = service.engine.batcher.gate
        labels, positive = gate.level1.labels, gate.bundle.manifest.cascade.positive_label
        if body.inputs is not None:
            (verdict,) = await service.check([body.inputs], route="http_classify", caller=caller)
            return label_scores(verdict, labels, positive)
        texts = [body.input] if isinstance(body.input, str) else (body.input or [])
        verdicts = await service.check(texts, route="classify", caller=caller)
        n_tokens = sum(verdict.tokens.read for verdict in verdicts)
        return ClassifyResponse(
            id=f"classify-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=gate.model.bundle,
            data=[
                _classified(i, label_scores(verdict, labels, positive))
                for i, verdict in enumerate(verdicts)
            ],
            usage=Usage(prompt_tokens=n_tokens, total_tokens=n_tokens),
        )

    return routes


def label_scores(verdict: Verdict, labels: tuple[str, ...], positive: str) -> list[LabelScore]:
    """Level 1's labels in their order: P(unsafe), and what is left among the others.

    A verdict has P(unsafe) and no more of Level 1; with two labels that is all of it. The score is
    a probability, never the confidence of the likelier label.
    """
    others = len(labels) - 1
    return [
        LabelScore(
            label=label,
            score=verdict.unsafe if label == positive else (1 - verdict.unsafe) / others,
        )
        for label in labels
    ]


def _classified(index: int, scores: list[LabelScore]) -> Classified:
    best = max(scores, key=lambda item: item.score)
    return Classified(
        index=index,
        label=best.label,
        probs=[item.score for item in scores],
        num_classes=len(scores),
    )
