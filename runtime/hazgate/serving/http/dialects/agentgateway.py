"""agentgateway's webhook guard: `POST /request` and `POST /response`.

The answer is an untagged union whose "pass" has no required field. agentgateway would read a reject
as a pass if `status_code` were not an integer or `body` not a string, so both are required here.
"""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.blocking import BlockDecision, decide_blocking, remarks_on
from hazgate.serving.bodies.walk import read_value
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.masking import decide_masking, mask_strings
from hazgate.serving.service import Service

_REJECT_STATUS = 403


class RequestBody(BaseModel):
    """A chat request; all of it is read."""

    model_config = ConfigDict(extra="allow")

    messages: list[dict[str, Any]]


class WebhookRequest(BaseModel):
    """The webhook's body before the model is asked."""

    body: RequestBody


class ResponseBody(BaseModel):
    """A chat response; all of it is read."""

    model_config = ConfigDict(extra="allow")

    choices: list[dict[str, Any]]


class WebhookResponse(BaseModel):
    """The webhook's body after the model has answered."""

    body: ResponseBody


class Pass(BaseModel):
    """An action: let the message through."""

    reason: StrictStr


class Mask(BaseModel):
    """An action: let this body through instead."""

    body: dict[str, Any]
    reason: StrictStr


class Reject(BaseModel):
    """An action: answer the client with this instead."""

    body: StrictStr
    status_code: StrictInt
    reason: StrictStr


class Action(BaseModel):
    """The action that the gateway should take."""

    action: Mask | Reject | Pass


def router(service: Service) -> APIRouter:
    """Return the routes `POST /request` and `POST /response`."""
    routes = APIRouter(tags=["agentgateway"], responses=REFUSALS)

    async def decide(said: BaseModel, side: Side, request: Request, answer: Response) -> Action:
        async def judge(document: dict[str, Any]) -> BlockDecision:
            read = read_value(document, side)
            if not read.passages and not read.unread:
                raise InputError("the body holds no text and nothing else that could be judged")
            return await decide_blocking(
                service, read, route="agentgateway", caller=request.state.caller, side=side
            )

        document = said.model_dump()
        decision, masked = await decide_masking(document, judge, mask_strings)
        answer.headers.update(decision.headers)
        if decision.failed_open is not None:
            return Action(action=Pass(reason=f"no verdict: {decision.failed_open}"))
        reason = decision.reason
        if reason is None and masked != document:
            return Action(action=Mask(body=masked, reason="what was blocked is masked"))
        if reason is None:
            remarks = "; ".join(["nothing to block was found", *remarks_on(decision.unread)])
            return Action(action=Pass(reason=remarks))
        return Action(action=Reject(body=reason, status_code=_REJECT_STATUS, reason=reason))

    @routes.post("/request", summary="agentgateway's webhook, before the model")
    async def before(body: WebhookRequest, request: Request, response: Response) -> Action:
        return await decide(body.body, "request", request, response)

    @routes.post("/response", summary="agentgateway's webhook, after the model")
    async def after(body: WebhookResponse, request: Request, response: Response) -> Action:
        for i, choice in enumerate(body.body.choices):
            if not isinstance(choice.get("message"), dict):
                raise InputError(f"choice {i} has no message")
        return await decide(body.body, "response", request, response)

    return routes
