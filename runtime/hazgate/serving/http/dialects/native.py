"""hazgate's own endpoint: everything that a verdict has."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.service import Service
from hazgate.text.conversation import conclude, parse_messages, texts_of


class CheckRequest(BaseModel):
    """Exactly one of `text`, `texts` and `messages`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = Field(default=None, description="One text.")
    texts: list[str] | None = Field(default=None, description="Several texts.")
    messages: list[dict[str, Any]] | None = Field(
        default=None, description="A conversation, its turns as chat APIs have them."
    )
    scope: Literal["each", "last", "whole"] = Field(
        default="each", description="Of a conversation: each turn, the last, or all as one text."
    )
    all_levels: bool = Field(default=False, description="Score hazards of texts not flagged, too.")
    tenant: str | None = Field(default=None, description="Whose rules of the policy decide.")

    @model_validator(mode="after")
    def _one_input(self) -> "CheckRequest":
        given = [name for name in ("text", "texts", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of text, texts, messages, got {', '.join(given) or 'none'}"
            )
        return self


class CheckResponse(BaseModel):
    """`flagged` if any verdict is; `decisive` is the turn that decided, of a conversation."""

    flagged: bool
    decisive: int | None
    verdicts: list[dict[str, Any]]


def router(service: Service) -> APIRouter:
    """`POST /v1/check`."""
    routes = APIRouter(tags=["hazgate"], responses=REFUSALS)

    @routes.post("/v1/check", summary="Verdicts on a text, several texts or a conversation")
    async def check(body: CheckRequest, request: Request) -> CheckResponse:
        bundle = service.engine.batcher.gate.bundle
        messages = None
        if body.messages is not None:
            messages = parse_messages(body.messages)
            texts = texts_of(messages, body.scope, bundle.manifest.conversation)
        else:
            texts = body.texts if body.texts is not None else [body.text or ""]
        verdicts = await service.check(
            texts,
            route="check",
            caller=request.state.caller,
            all_levels=body.all_levels,
            tenant=body.tenant,
        )
        decisive = None
        if messages is not None:
            decisive = conclude(verdicts, body.scope, messages).decisive
        return CheckResponse(
            flagged=any(verdict.flagged for verdict in verdicts),
            decisive=decisive,
            verdicts=[verdict.to_dict() for verdict in verdicts],
        )

    return routes
