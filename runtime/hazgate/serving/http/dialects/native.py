"""hazgate's own endpoint: whole verdicts."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hazgate.judging.decision import Action, strongest
from hazgate.judging.speech import Role, Side, UnreadKind
from hazgate.judging.verdict import Verdict
from hazgate.serving.bodies.turns import ReadTurn, in_scope, question_before, read_turns
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service

_Names = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64)]


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
    levels: _Names | Literal["all"] = Field(
        default=[], description="Levels beside the cascade to answer, too, by name."
    )
    tenant: str | None = Field(default=None, description="Tenant whose policy rules decide.")
    role: Role | None = Field(
        default=None, description="Speaker of text or texts, for the policy's rules by role."
    )
    side: Side = Field(
        default="request",
        description="Side whose policy decides. With the setting policy.pair, the assistant's "
        "turns of a response are read once more, each beside the last user turn before it.",
    )

    @model_validator(mode="after")
    def _one_input(self) -> "CheckRequest":
        given = [name for name in ("text", "texts", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of text, texts, messages, got {', '.join(given) or 'none'}"
            )
        return self


class ReadPassage(BaseModel):
    """A text that was read: its place in the request, and who speaks in it.

    `pair` is True if it was read once more, beside the last user turn before it.
    """

    path: str
    role: Role | None
    pair: bool = False


class UnreadPart(BaseModel):
    """A part that nobody checked: no text, or one whose scores say nothing."""

    path: str
    kind: UnreadKind


class CheckResponse(BaseModel):
    """An answer, `flagged` if any verdict is, or if the policy does not allow an unread part.

    `decisive` is the turn that decided. `read` has the place of each verdict's text.
    """

    flagged: bool
    decisive: int | None
    verdicts: list[dict[str, Any]]
    read: list[ReadPassage]
    unread: list[UnreadPart]
    unread_action: Action


def router(service: Service) -> APIRouter:
    """Return the route `POST /v1/check`."""
    routes = APIRouter(tags=["hazgate"], responses=REFUSALS)

    @routes.post("/v1/check", summary="Verdicts on a text, several texts or a conversation")
    async def check(body: CheckRequest, request: Request) -> CheckResponse:
        turns = [] if body.messages is None else read_turns(body.messages)
        judged = in_scope(turns, body.scope, service.gate.conversation) if turns else []
        if body.side == "response" and body.scope != "whole":
            judged = [await _beside_question(service, turn, turns) for turn in judged]
        texts, read = _said(body, judged)
        heard = turns[-1:] if body.scope == "last" else turns
        unread = [
            UnreadPart(path=turn.path(part.place), kind=part.kind)
            for turn in heard
            for part in turn.body.unread
        ]
        tenant = service.tenant_of(request.state.caller, body.tenant)
        action = service.judge_unread([part.kind for part in unread], body.side, tenant)
        ask = Ask(
            texts=texts,
            roles=tuple(passage.role for passage in read),
            all_levels=body.all_levels,
            levels=tuple(service.gate.names_beside if body.levels == "all" else body.levels),
            tenant=body.tenant,
            side=body.side,
            caller=request.state.caller,
        )
        verdicts = await service.check(ask, route="check")
        unknown = [
            UnreadPart(path=passage.path, kind=kind)
            for passage, verdict in zip(read, verdicts, strict=True)
            for kind in verdict.unread_kinds
        ]
        if unknown:
            kinds = {part.kind for part in unknown}
            on_unknown = service.gate.unread_action(kinds, side=body.side, tenant=tenant)
            action = strongest([action, on_unknown])
        return CheckResponse(
            flagged=action != "allow" or any(verdict.flagged for verdict in verdicts),
            decisive=None if body.scope == "whole" else _decisive(verdicts, judged),
            verdicts=[verdict.to_dict() for verdict in verdicts],
            read=read,
            unread=unread + unknown,
            unread_action=action,
        )

    return routes


async def _beside_question(service: Service, turn: ReadTurn, turns: Sequence[ReadTurn]) -> ReadTurn:
    read = await service.with_pairs(turn.body, question_before(turns, turn.index))
    return dataclasses.replace(turn, body=read)


def _said(body: CheckRequest, judged: Sequence[ReadTurn]) -> tuple[list[str], list[ReadPassage]]:
    """Return the texts of a request, and where each stands."""
    if body.messages is not None:
        passages = [(turn, passage) for turn in judged for passage in turn.body.passages]
        whole = body.scope == "whole"
        return [passage.text for _, passage in passages], [
            ReadPassage(
                path="$.messages" if whole else turn.path(passage.place),
                role=None if whole else passage.role,
                pair=passage.pair,
            )
            for turn, passage in passages
        ]
    if body.texts is None:
        return [body.text or ""], [ReadPassage(path="$.text", role=body.role)]
    return body.texts, [
        ReadPassage(path=f"$.texts[{i}]", role=body.role) for i in range(len(body.texts))
    ]


def _decisive(verdicts: Sequence[Verdict], judged: Sequence[ReadTurn]) -> int | None:
    """Return the index of the turn with the most unsafe text; None without turns."""
    indices = [turn.index for turn in judged for _ in turn.body.passages]
    worst = max(
        range(len(indices)),
        key=lambda i: (verdicts[i].flagged, verdicts[i].unsafe),
        default=None,
    )
    return None if worst is None else indices[worst]
