"""OpenAI's `POST /v1/moderations`, as its clients, LiteLLM and agentgateway read it.

All thirteen categories are in all three maps, because strict clients require each of them. Hazards
unknown to OpenAI keep their own names, which typed clients ignore. `flagged` is the gate's
decision; a text may be flagged without any of OpenAI's categories.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from hazgate.errors import InputError
from hazgate.judging.decision import Action
from hazgate.judging.moderation import moderation_result
from hazgate.judging.verdict import Verdict
from hazgate.serving.blocking import kinds_of
from hazgate.serving.bodies.passages import BodyText, Passage, Unread
from hazgate.serving.bodies.walk import read_value
from hazgate.serving.failures import UNREAD_HEADER, FailureAnswer
from hazgate.serving.http.dialects.inputs import check_texts
from hazgate.serving.http.dialects.refusals import described
from hazgate.serving.http.error_forms import ErrorAnswer, ErrorForm
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service

# The hazards' probabilities sum to one, so at most three categories reach a third.
_CATEGORY_THRESHOLD = 1 / 3


class OpenAiErrorDetail(BaseModel):
    """The members that OpenAI's clients show; `param` is the field that is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiError(BaseModel):
    """OpenAI's answer to an error."""

    error: OpenAiErrorDetail


class InputPart(BaseModel):
    """A part of an input; what is no text is listed as unread, and the policy decides on it."""

    model_config = ConfigDict(extra="allow")

    type: str


class ModerationRequest(BaseModel):
    """The request of OpenAI's clients; `model` is ignored: there is only one."""

    model_config = ConfigDict(extra="forbid")

    input: str | list[str] | list[InputPart]
    model: str | None = Field(default=None, description="Ignored; the bundle answers.")


class ModerationResult(BaseModel):
    """The result of one text."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationResponse(BaseModel):
    """The answer to OpenAI's clients."""

    id: str
    model: str
    results: list[ModerationResult]


def error_answer(failure: FailureAnswer) -> ErrorAnswer:
    """Return an error as OpenAI's clients read it: 400 for all that is wrong with a body."""
    kind = "server_error" if failure.status >= 500 else "invalid_request_error"
    detail = {
        "message": failure.message,
        "type": kind,
        # A text that cannot be judged: both dialects have their texts in this field.
        "param": "input" if failure.code == "invalid_input" else failure.param,
        "code": "invalid_api_key" if failure.status == 401 else failure.code,
    }
    status = 400 if failure.status == 422 else failure.status
    return ErrorAnswer(status=status, body={"error": detail}, headers=failure.headers)


# vLLM's clients read OpenAI's errors.
ERRORS = ErrorForm(paths=("/v1/moderations", "/classify", "/v1/classify"), answer=error_answer)
OPENAI_REFUSALS = described(OpenAiError, 400, 401, 408, 413, 500, 503, 504)


def router(service: Service) -> APIRouter:
    """Return the route `POST /v1/moderations`."""
    routes = APIRouter(tags=["OpenAI"], responses=OPENAI_REFUSALS)

    @routes.post("/v1/moderations", summary="OpenAI's moderation endpoint")
    async def moderations(
        body: ModerationRequest, request: Request, response: Response
    ) -> ModerationResponse:
        inputs = _read(body.input)
        unread = [part for read in inputs for part in read.unread]
        action = service.judge_unread(
            [part.kind for part in unread], "request", service.tenant_of(request.state.caller)
        )
        kinds = ", ".join(kinds_of(unread))
        if action == "block":
            raise InputError(f"only text can be checked, and the policy blocks the rest: {kinds}")
        if not all(read.passages for read in inputs):
            raise InputError("an input has no text: there is nothing to judge")
        passages = [passage for read in inputs for passage in read.passages]
        ask = Ask(texts=[passage.text for passage in passages], caller=request.state.caller)
        found = await service.check(ask, route="moderations")
        verdicts = iter(found)
        results = [
            _result_of_parts([next(verdicts) for _ in read.passages], action) for read in inputs
        ]
        unread += [
            Unread(kind=kind, place=passage.place)
            for passage, verdict in zip(passages, found, strict=True)
            for kind in verdict.unread_kinds
        ]
        if unread:
            response.headers[UNREAD_HEADER] = ", ".join(kinds_of(unread))
        model = service.model
        return ModerationResponse(
            id=f"modr-{uuid.uuid4().hex}",
            model=f"{model.bundle}@{model.digest[:12]}",
            results=results,
        )

    return routes


def result_of(verdict: Verdict) -> ModerationResult:
    """Return a verdict in OpenAI's form; hazards unknown to OpenAI keep their own names."""
    hazards = verdict.hazards
    result: dict[str, Any] = moderation_result(
        flagged=verdict.flagged, hazards=hazards, threshold=_CATEGORY_THRESHOLD
    )
    scores = {**result["category_scores"], **(hazards or {})}
    categories = {
        **result["categories"],
        **{
            name: verdict.flagged and score >= _CATEGORY_THRESHOLD
            for name, score in (hazards or {}).items()
        },
    }
    return ModerationResult(
        flagged=verdict.flagged,
        categories=categories,
        category_scores=scores,
        category_applied_input_types={name: ["text"] for name in categories},
    )


def _result_of_parts(verdicts: Sequence[Verdict], on_unread: Action) -> ModerationResult:
    """Return the result of one input: that of its most unsafe text, flagged if any part is."""
    result = result_of(max(verdicts, key=lambda each: (each.flagged, each.unsafe)))
    flagged = on_unread == "flag" or any(verdict.flagged for verdict in verdicts)
    return result.model_copy(update={"flagged": flagged})


def _read(given: str | list[str] | list[InputPart]) -> list[BodyText]:
    """Read each input. OpenAI takes the parts of a list as one input.

    Raises:
        InputError: there is no input, or a part cannot be read.
    """
    if isinstance(given, str):
        given = [given]
    texts = [item for item in given if isinstance(item, str)]
    if texts or not given:
        check_texts(texts, "input")
    parts = [item.model_dump() for item in given if isinstance(item, InputPart)]
    inputs = [_plain(text) for text in texts]
    if parts:
        read = read_value({"messages": [{"role": "user", "content": parts}]}, "request")
        inputs.append(read)
    return inputs


def _plain(text: str) -> BodyText:
    return BodyText(passages=(Passage(text=text, place=(), role="user"),))
