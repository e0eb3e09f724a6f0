"""OpenAI's `POST /v1/moderations`, as its clients, LiteLLM and agentgateway read it.

All thirteen categories stand in all three maps, for strict clients require each of them. What
OpenAI has no name for keeps its hazard's own name, which typed clients pass over. `flagged` is the
gate's decision; a text may be flagged without any of OpenAI's categories.
"""

import uuid
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from hazgate.errors import InputError
from hazgate.judging.moderation import moderation_result
from hazgate.judging.verdict import Verdict
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.service import Service

# Of the nine hazards' probabilities, the greatest is over a ninth: a category from a third on is
# one of at most three.
_CATEGORY_THRESHOLD = 1 / 3


class InputPart(BaseModel):
    """A part of an input; only text can be read."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class ModerationRequest(BaseModel):
    """What OpenAI's clients send; `model` is not looked at: there is one."""

    model_config = ConfigDict(extra="ignore")

    input: str | list[str] | list[InputPart]
    model: str | None = Field(default=None, description="Any; it is answered by the bundle.")


class ModerationResult(BaseModel):
    """One text's."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationResponse(BaseModel):
    """What OpenAI's clients read."""

    id: str
    model: str
    results: list[ModerationResult]


def router(service: Service) -> APIRouter:
    """`POST /v1/moderations`."""
    routes = APIRouter(tags=["OpenAI"], responses=REFUSALS)

    @routes.post("/v1/moderations", summary="OpenAI's moderation endpoint")
    async def moderations(body: ModerationRequest, request: Request) -> ModerationResponse:
        verdicts = await service.check(
            _texts(body.input), route="moderations", caller=request.state.caller
        )
        model = service.engine.batcher.gate.model
        return ModerationResponse(
            id=f"modr-{uuid.uuid4().hex}",
            model=f"{model.bundle}@{model.digest[:12]}",
            results=[result_of(verdict) for verdict in verdicts],
        )

    return routes


def result_of(verdict: Verdict) -> ModerationResult:
    """A verdict in OpenAI's words, and hazards that it has no word for in their own."""
    hazards = verdict.hazards
    result: dict[str, Any] = moderation_result(
        flagged=verdict.flagged, hazards=hazards, threshold=_CATEGORY_THRESHOLD
    )
    scores = {**result["category_scores"], **(hazards or {})}
    categories = {
        **result["categories"],
        **{
            name: verdict.flagged and score >= _CATEGORY_THRESHOLD
            for name, score in (hazards or {}).items()
        },
    }
    return ModerationResult(
        flagged=verdict.flagged,
        categories=categories,
        category_scores=scores,
        category_applied_input_types={name: ["text"] for name in categories},
    )


def _texts(given: "str | list[str] | list[InputPart]") -> list[str]:
    if isinstance(given, str):
        return [given]
    texts = []
    parts = []
    for item in given:
        if isinstance(item, str):
            texts.append(item)
        elif item.type == "text" and item.text is not None:
            parts.append(item.text)
        else:
            raise InputError("only input parts of type 'text' with a string `text` can be read")
    # The parts of one input are one text, as OpenAI has it.
    return [*texts, "\n".join(parts)] if parts else texts
