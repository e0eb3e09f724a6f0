"""hazgate's own endpoint: whole verdicts."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service
from hazgate.text.conversation import conclude, parse_messages, texts_of


class CheckRequest(BaseModel):
    """A request with exactly one of `text`, `texts` and `messages`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = Field(default=None, description="One text.")
    texts: list[str] | None = Field(default=None, description="Several texts.")
    messages: list[dict[str, Any]] | None = Field(
        default=None, description="A conversation: its turns in the form of chat APIs."
    )
    scope: Literal["each", "last", "whole"] = Field(
        default="each",
        description="Turns of a conversation to read: each, the last, or the whole as one text.",
    )
    all_levels: bool = Field(
        default=False, description="Score the hazards of texts that are not flagged, too."
    )
    tenant: str | None = Field(default=None, description="Tenant whose policy rules decide.")

    @model_validator(mode="after")
    def _one_input(self) -> "CheckRequest":
        given = [name for name in ("text", "texts", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of text, texts, messages, got {', '.join(given) or 'none'}"
            )
        return self


class CheckResponse(BaseModel):
    """An answer, `flagged` if any verdict is; `decisive` is the turn that decided."""

    flagged: bool
    decisive: int | None
    verdicts: list[dict[str, Any]]


def router(service: Service) -> APIRouter:
    """Return the route `POST /v1/check`."""
    routes = APIRouter(tags=["hazgate"], responses=REFUSALS)

    @routes.post("/v1/check", summary="Verdicts on a text, several texts or a conversation")
    async def check(body: CheckRequest, request: Request) -> CheckResponse:
        messages = None
        if body.messages is not None:
            messages = parse_messages(body.messages)
            texts = texts_of(messages, body.scope, service.gate.conversation)
        else:
            texts = body.texts if body.texts is not None else [body.text or ""]
        ask = Ask(
            texts=texts,
            all_levels=body.all_levels,
            tenant=body.tenant,
            caller=request.state.caller,
        )
        verdicts = await service.check(ask, route="check")
        decisive = None
        if messages is not None:
            decisive = conclude(verdicts, body.scope, messages).decisive
        return CheckResponse(
            flagged=any(verdict.flagged for verdict in verdicts),
            decisive=decisive,
            verdicts=[verdict.to_dict() for verdict in verdicts],
        )

    return routes
