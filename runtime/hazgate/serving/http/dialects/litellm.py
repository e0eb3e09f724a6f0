"""LiteLLM's generic guardrail: `POST /beta/litellm_basic_guardrail_api`.

`action` is always in the answer, for LiteLLM reads a missing one as a pass. LiteLLM shows
`blocked_reason` to the end user, so it names hazards and repeats nothing of the text.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from hazgate.serving.blocking import decide_blocking
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service


class GuardrailRequest(BaseModel):
    """LiteLLM's request; only `texts` and the arguments of `tool_calls` are read."""

    model_config = ConfigDict(extra="ignore")

    texts: list[str] | None = None
    tool_calls: list[dict[str, Any]] | None = None
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
        texts = [*(body.texts or []), *_arguments(body.tool_calls or [])]
        ask = Ask(texts=texts, caller=request.state.caller)
        decision = await decide_blocking(service, ask, route="litellm")
        response.headers.update(decision.headers)
        if decision.reason is None:
            return GuardrailResponse(action="NONE")
        return GuardrailResponse(action="BLOCKED", blocked_reason=decision.reason)

    return routes


def _arguments(tool_calls: list[dict[str, Any]]) -> list[str]:
    """Return the arguments of function calls; `texts` does not have them."""
    found = []
    for call in tool_calls:
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            found.append(arguments)
    return found
