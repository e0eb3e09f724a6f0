"""LiteLLM's generic guardrail: `POST /beta/litellm_basic_guardrail_api`.

`action` is always in the answer, for LiteLLM reads a missing one as a pass. LiteLLM shows
`blocked_reason` to the end user, so it names hazards and repeats nothing of the text.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.blocking import decide_blocking
from hazgate.serving.bodies.walk import read_value
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.service import Service


class GuardrailRequest(BaseModel):
    """The parts of LiteLLM's request that hold what a user or a model said.

    `texts` are the messages, one by one; `structured_messages` are the same messages as objects.
    """

    model_config = ConfigDict(extra="ignore")

    texts: list[str] | None = None
    images: list[Any] | None = None
    tools: list[Any] | None = None
    tool_calls: list[Any] | None = None
    structured_messages: list[Any] | None = None
    input_type: str | None = None


class GuardrailResponse(BaseModel):
    """LiteLLM's answer."""

    action: Literal["BLOCKED", "NONE"]
    blocked_reason: str | None = None


def router(service: Service) -> APIRouter:
    """Return the route `POST /beta/litellm_basic_guardrail_api`."""
    routes = APIRouter(tags=["LiteLLM"], responses=REFUSALS)

    @routes.post("/beta/litellm_basic_guardrail_api", summary="LiteLLM's generic guardrail")
    async def guardrail(
        body: GuardrailRequest, request: Request, response: Response
    ) -> GuardrailResponse:
        side: Side = "response" if body.input_type == "response" else "request"
        read = read_value(_said(body), side)
        if not read.passages and not read.unread and not body.texts:
            raise InputError("the request holds no text and nothing else that could be judged")
        decision = await decide_blocking(
            service, read, route="litellm", caller=request.state.caller, side=side
        )
        response.headers.update(decision.headers)
        if decision.reason is None:
            return GuardrailResponse(action="NONE")
        return GuardrailResponse(action="BLOCKED", blocked_reason=decision.reason)

    return routes


def _said(body: GuardrailRequest) -> dict[str, object]:
    """Return the request in the words of chat completions, which the reader knows."""
    said: dict[str, object] = {
        "input": body.texts,
        "images": body.images,
        "tools": body.tools,
        "messages": [
            {"role": "assistant", "tool_calls": body.tool_calls or []},
            *(body.structured_messages or []),
        ],
    }
    return {name: value for name, value in said.items() if value}
