"""LiteLLM's generic guardrail: `POST /beta/litellm_basic_guardrail_api`.

`action` always stands in the answer: LiteLLM reads a missing one as a pass. It shows
`blocked_reason` to the end user, so that names hazards and repeats nothing of the text.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from hazgate.serving.blocking import rule
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.service import Service


class GuardrailRequest(BaseModel):
    """What LiteLLM sends; of it, `texts` and the arguments of `tool_calls` are read."""

    model_config = ConfigDict(extra="ignore")

    texts: list[str] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    input_type: str | None = None


class GuardrailResponse(BaseModel):
    """What LiteLLM reads."""

    action: Literal["BLOCKED", "NONE"]
    blocked_reason: str | None = None


def router(service: Service) -> APIRouter:
    """`POST /beta/litellm_basic_guardrail_api`."""
    routes = APIRouter(tags=["LiteLLM"], responses=REFUSALS)

    @routes.post("/beta/litellm_basic_guardrail_api", summary="LiteLLM's generic guardrail")
    async def guardrail(
        body: GuardrailRequest, request: Request, response: Response
    ) -> GuardrailResponse:
        texts = [*(body.texts or []), *_arguments(body.tool_calls or [])]
        ruling = await rule(service, texts, route="litellm", caller=request.state.caller)
        response.headers.update(ruling.headers)
        if ruling.reason is None:
            return GuardrailResponse(action="NONE")
        return GuardrailResponse(action="BLOCKED", blocked_reason=ruling.reason)

    return routes


def _arguments(tool_calls: list[dict[str, Any]]) -> list[str]:
    """The arguments that function calls carry, which `texts` leaves out."""
    found = []
    for call in tool_calls:
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            found.append(arguments)
    return found
