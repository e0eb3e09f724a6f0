"""agentgateway's webhook guard: `POST /request` and `POST /response`.

Its answer is an untagged union whose "pass" has no required field: a reject without an integer
`status_code` or with a `body` that is no string would be read as a pass. Both are required here.
"""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr

from hazgate.errors import InputError
from hazgate.serving.blocking import rule
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.service import Service
from hazgate.text.conversation import parse_messages

_REJECT_STATUS = 403


class RequestBody(BaseModel):
    """The messages of a chat request."""

    model_config = ConfigDict(extra="ignore")

    messages: list[dict[str, Any]]


class WebhookRequest(BaseModel):
    """Before the model is asked."""

    body: RequestBody


class ResponseBody(BaseModel):
    """The choices of a chat response."""

    model_config = ConfigDict(extra="ignore")

    choices: list[dict[str, Any]]


class WebhookResponse(BaseModel):
    """After the model has answered."""

    body: ResponseBody


class Pass(BaseModel):
    """Let it through."""

    reason: StrictStr


class Reject(BaseModel):
    """Answer the client with this instead."""

    body: StrictStr
    status_code: StrictInt
    reason: StrictStr


class Action(BaseModel):
    """What the gateway is to do."""

    action: Reject | Pass


def router(service: Service) -> APIRouter:
    """`POST /request` and `POST /response`."""
    routes = APIRouter(tags=["agentgateway"], responses=REFUSALS)

    async def decide(messages: list[dict[str, Any]], request: Request, answer: Response) -> Action:
        texts = [message.content for message in parse_messages(messages)] if messages else []
        ruling = await rule(service, texts, route="agentgateway", caller=request.state.caller)
        answer.headers.update(ruling.headers)
        if ruling.failed_open is not None:
            return Action(action=Pass(reason=f"no verdict: {ruling.failed_open}"))
        if ruling.reason is None:
            return Action(action=Pass(reason="nothing to block was found"))
        return Action(
            action=Reject(body=ruling.reason, status_code=_REJECT_STATUS, reason=ruling.reason)
        )

    @routes.post("/request", summary="agentgateway's webhook, before the model")
    async def before(body: WebhookRequest, request: Request, response: Response) -> Action:
        return await decide(body.body.messages, request, response)

    @routes.post("/response", summary="agentgateway's webhook, after the model")
    async def after(body: WebhookResponse, request: Request, response: Response) -> Action:
        messages = []
        for i, choice in enumerate(body.body.choices):
            if not isinstance(choice.get("message"), dict):
                raise InputError(f"choice {i} has no message")
            messages.append(choice["message"])
        return await decide(messages, request, response)

    return routes
