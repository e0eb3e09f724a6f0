"""LiteLLM's generic guardrail: `POST /beta/litellm_basic_guardrail_api`.

`action` is always in the answer, for LiteLLM reads a missing one as a pass. LiteLLM shows
`blocked_reason` to the end user, so it names hazards and repeats nothing of the text.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.blocking import BlockDecision, decide_blocking
from hazgate.serving.bodies.fields import is_model
from hazgate.serving.bodies.pairs import questions_of
from hazgate.serving.bodies.walk import read_value
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.masking import decide_masking, mask_texts, masks_spans
from hazgate.serving.service import Service
from hazgate.text.growing import held_characters

# Fields of LiteLLM's that hold a name or an identifier.
_NAMES = ("litellm_call_id", "litellm_trace_id", "litellm_version", "model")


class GuardrailRequest(BaseModel):
    """LiteLLM's request: what a user or a model said, and facts about the call.

    `texts` are the messages, one by one; `structured_messages` are the same messages as objects.
    `request_data` has the names of LiteLLM's key, user and team, `request_headers` the headers of
    the client, which no model sees: they are not read. Any other field is.
    """

    model_config = ConfigDict(extra="allow")

    texts: list[str] | None = None
    images: list[Any] | None = None
    tools: list[Any] | None = None
    tool_calls: list[Any] | None = None
    structured_messages: list[Any] | None = None
    input_type: str | None = None
    request_data: dict[str, Any] | None = None
    request_headers: dict[str, str] | None = None
    additional_provider_specific_params: dict[str, Any] | None = None


class GuardrailResponse(BaseModel):
    """LiteLLM's answer.

    `texts` take the place of those that were sent. `stream_holdback_chars` are the characters at
    the end of each that wait for the next round, while a stream grows.
    """

    action: Literal["BLOCKED", "NONE", "GUARDRAIL_INTERVENED"]
    blocked_reason: str | None = None
    texts: list[str] | None = None
    stream_holdback_chars: list[int] | None = None


def router(service: Service) -> APIRouter:
    """Return the route `POST /beta/litellm_basic_guardrail_api`."""
    routes = APIRouter(tags=["LiteLLM"], responses=REFUSALS)

    @routes.post("/beta/litellm_basic_guardrail_api", summary="LiteLLM's generic guardrail")
    async def guardrail(
        body: GuardrailRequest, request: Request, response: Response
    ) -> GuardrailResponse:
        side: Side = "response" if body.input_type == "response" else "request"
        said = tuple(body.texts or ())

        async def decide(texts: tuple[str, ...]) -> BlockDecision:
            read = read_value(_said(_with_texts(body, texts)), side)
            if not read.passages and not read.unread and not body.texts:
                raise InputError("the request holds no text and nothing else that could be judged")
            return await decide_blocking(
                service,
                read,
                route="litellm",
                caller=request.state.caller,
                side=side,
                questions=_questions(body) if side == "response" else (),
            )

        if side == "request" or service.settings.litellm_masks_responses:
            decision, texts = await decide_masking(said, decide, mask_texts)
        else:
            decision, texts = await decide(said), said
        response.headers.update(decision.headers)
        if decision.reason is not None:
            return GuardrailResponse(action="BLOCKED", blocked_reason=decision.reason)
        held = None
        if side == "response":
            held = await _held(service, texts, service.tenant_of(request.state.caller))
        if texts == said:
            return GuardrailResponse(action="NONE", stream_holdback_chars=held)
        return GuardrailResponse(
            action="GUARDRAIL_INTERVENED", texts=list(texts), stream_holdback_chars=held
        )

    return routes


async def _held(service: Service, texts: Sequence[str], tenant: str | None) -> list[int]:
    """Return the characters at the end of each text of a response that wait for the next round."""
    masks = service.settings.litellm_masks_responses
    if masks and masks_spans(service.gate.policy_for("response"), tenant):
        # What comes later can begin a span further up, which could not be taken back.
        return [len(text) for text in texts]
    tokenizer, n_tokens = service.gate.level1.tokenizer, service.settings.stream.hold_tokens
    return await asyncio.to_thread(
        lambda: [held_characters(tokenizer, text, n_tokens) for text in texts]
    )


def _with_texts(body: GuardrailRequest, texts: tuple[str, ...]) -> GuardrailRequest:
    """Return a request with other texts, also where its messages repeat them."""
    changed = {old: new for old, new in zip(body.texts or (), texts, strict=True) if old != new}
    if not changed:
        return body
    messages = _replaced(body.structured_messages, changed)
    return body.model_copy(update={"texts": list(texts), "structured_messages": messages})


def _replaced(value: Any, changed: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return changed.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, changed) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, changed) for key, item in value.items()}
    return value


def _questions(body: GuardrailRequest) -> tuple[str, ...]:
    """Return the last user turn before a response, if the messages came with it."""
    return questions_of(read_value({"messages": body.structured_messages or []}, "request"))


def _said(body: GuardrailRequest) -> dict[str, object]:
    """Return the request in the words of chat completions, which the reader knows."""
    said: dict[str, object] = {
        # Below a name of their own, so that none takes the place of a known field.
        "metadata": _others(body),
        "input": body.texts,
        "images": body.images,
        "tools": body.tools,
        "messages": [
            {"role": "assistant", "tool_calls": body.tool_calls or []},
            *(body.structured_messages or []),
        ],
    }
    return {name: value for name, value in said.items() if value}


def _others(body: GuardrailRequest) -> list[object]:
    """Return the fields that hold anything, but for names and identifiers."""
    others = {
        name: value
        for name, value in (body.model_extra or {}).items()
        if not (name in _NAMES and (value is None or (isinstance(value, str) and is_model(value))))
    }
    return [others, body.additional_provider_specific_params]
