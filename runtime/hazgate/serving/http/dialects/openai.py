"""OpenAI's `POST /v1/moderations`, as its clients, LiteLLM and agentgateway read it.

All thirteen categories are in all three maps, because strict clients require each of them. Hazards
unknown to OpenAI keep their own names, which typed clients ignore. `flagged` is the gate's
decision; a text may be flagged without any of OpenAI's categories.
"""

import uuid
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from hazgate.errors import InputError
from hazgate.judging.moderation import moderation_result
from hazgate.judging.verdict import Verdict
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service

# The hazards' probabilities sum to one, so at most three categories reach a third.
_CATEGORY_THRESHOLD = 1 / 3


class InputPart(BaseModel):
    """A part of an input; only text can be read."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class ModerationRequest(BaseModel):
    """The request of OpenAI's clients; `model` is ignored: there is only one."""

    model_config = ConfigDict(extra="ignore")

    input: str | list[str] | list[InputPart]
    model: str | None = Field(default=None, description="Ignored; the bundle answers.")


class ModerationResult(BaseModel):
    """The result of one text."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationResponse(BaseModel):
    """The answer to OpenAI's clients."""

    id: str
    model: str
    results: list[ModerationResult]


def router(service: Service) -> APIRouter:
    """Return the route `POST /v1/moderations`."""
    routes = APIRouter(tags=["OpenAI"], responses=REFUSALS)

    @routes.post("/v1/moderations", summary="OpenAI's moderation endpoint")
    async def moderations(body: ModerationRequest, request: Request) -> ModerationResponse:
        ask = Ask(texts=_texts(body.input), caller=request.state.caller)
        verdicts = await service.check(ask, route="moderations")
        model = service.model
        return ModerationResponse(
            id=f"modr-{uuid.uuid4().hex}",
            model=f"{model.bundle}@{model.digest[:12]}",
            results=[result_of(verdict) for verdict in verdicts],
        )

    return routes


def result_of(verdict: Verdict) -> ModerationResult:
    """Return a verdict in OpenAI's form; hazards unknown to OpenAI keep their own names."""
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
    if not given:
        raise InputError("input is an empty list: there is nothing to judge")
    texts = []
    parts = []
    for item in given:
        if isinstance(item, str):
            texts.append(item)
        elif item.type == "text" and item.text is not None:
            parts.append(item.text)
        else:
            raise InputError("only input parts of type 'text' with a string `text` can be read")
    # OpenAI reads the parts of one input as one text.
    return [*texts, "\n".join(parts)] if parts else texts
