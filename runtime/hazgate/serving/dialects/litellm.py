"""LiteLLM's generic guardrail: `POST /beta/litellm_basic_guardrail_api`.

`action` always stands in the answer: LiteLLM reads a missing one as a pass. It shows
`blocked_reason` to the end user, so that names hazards and repeats nothing of the text.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from hazgate.errors import HazgateError, InputError
from hazgate.serving.failures import FAILED_OPEN_HEADER
from hazgate.serving.service import Service
from hazgate.verdict import Verdict


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
    routes = APIRouter(tags=["LiteLLM"])

    @routes.post("/beta/litellm_basic_guardrail_api", summary="LiteLLM's generic guardrail")
    async def guardrail(
        body: GuardrailRequest, request: Request, response: Response
    ) -> GuardrailResponse:
        texts = [*(body.texts or []), *_arguments(body.tool_calls or [])]
        try:
            verdicts = await service.check(texts, route="litellm", caller=request.state.caller)
        except InputError:
            # Whoever could pass by sending what cannot be read would.
            raise
        except HazgateError as error:
            if not service.fails_open("litellm"):
                raise
            response.headers[FAILED_OPEN_HEADER] = type(error).__name__
            return GuardrailResponse(action="NONE")
        flagged = [verdict for verdict in verdicts if blocks(verdict)]
        if not flagged:
            return GuardrailResponse(action="NONE")
        return GuardrailResponse(action="BLOCKED", blocked_reason=reason_of(flagged))

    return routes


def blocks(verdict: Verdict) -> bool:
    """Whether a gateway stops the text: what a policy blocks, or without one what is flagged."""
    if verdict.decision is not None:
        return verdict.decision.action == "block"
    return verdict.flagged


def reason_of(verdicts: list[Verdict]) -> str:
    """A sentence for the end user that names hazards alone."""
    hazards = sorted({v.hazard for v in verdicts if v.hazard is not None})
    return f"Blocked by the safety gate: {', '.join(hazards) or 'unsafe'}"


def _arguments(tool_calls: list[dict[str, Any]]) -> list[str]:
    """The arguments that function calls carry, which `texts` leaves out."""
    found = []
    for call in tool_calls:
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            found.append(arguments)
    return found
