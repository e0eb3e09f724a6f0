"""Amazon Bedrock's `ApplyGuardrail`: `POST /guardrail/{id}/version/{version}/apply`.

Every block of the content is judged by itself. `GUARDRAIL_INTERVENED` comes with the filters that
found something, and with one output, the sentence to show instead. Where the policy masks, there is
an output for every text block instead, in their order, and the filters' action is `NONE`: they
found something and blocked nothing. A hazard that Bedrock's filters do not have, such as privacy,
comes as MISCONDUCT. An image cannot be read: it is not passed as
`NONE` unless the policy allows parts that nobody read. The server has one policy, whatever id and
version the caller names.

Source: the service model of bedrock-runtime 2023-09-30, as botocore 1.44 reads it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.judging.verdict import Verdict
from hazgate.serving.blocking import BlockDecision, decide_blocking
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.walk import read_value
from hazgate.serving.failures import FailureAnswer
from hazgate.serving.http.dialects.categories import named_categories
from hazgate.serving.http.dialects.refusals import described
from hazgate.serving.http.error_forms import ErrorAnswer, ErrorForm
from hazgate.serving.masking import decide_masking, mask_texts
from hazgate.serving.service import Service

FilterType = Literal["INSULTS", "HATE", "SEXUAL", "VIOLENCE", "MISCONDUCT", "PROMPT_ATTACK"]
Confidence = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
FilterAction = Literal["BLOCKED", "NONE"]
Qualifier = Literal["grounding_source", "query", "guard_content"]
# A block with neither qualifier is said by the side that `source` names.
_SPEAKERS: Mapping[str, str] = {"grounding_source": "tool", "query": "user"}
_ANY = "Any: the server has one policy."
_FALLBACK: FilterType = "MISCONDUCT"
# Lowest P(unsafe) of a confidence; what is flagged below is LOW.
_HIGH, _MEDIUM = 0.9, 0.7
# Characters of a text unit, by which Bedrock counts.
_UNIT_CHARACTERS = 1000

# botocore takes the exception's class from a header, else from the body.
_TYPE_HEADER = "x-amzn-errortype"
_EXCEPTIONS = {
    401: (403, "AccessDeniedException"),
    404: (404, "ResourceNotFoundException"),
    500: (500, "InternalServerException"),
    503: (503, "ServiceUnavailableException"),
    504: (503, "ServiceUnavailableException"),
}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageSource(_Shape):
    """The image's bytes, in base64."""

    bytes: str


class ImageBlock(_Shape):
    """An image, which is no text and is not read."""

    format: Literal["png", "jpeg"]
    source: ImageSource


class TextBlock(_Shape):
    """A text; a grounding source is judged as what a tool returned, a query as the user's."""

    text: str
    qualifiers: list[Qualifier] = []


class ContentBlock(_Shape):
    """Exactly one of `text` and `image`."""

    text: TextBlock | None = None
    image: ImageBlock | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "ContentBlock":
        if (self.text is None) == (self.image is None):
            raise ValueError("expected exactly one of text and image in a block")
        return self


class ApplyGuardrailRequest(_Shape):
    """The request of AWS's clients."""

    source: Literal["INPUT", "OUTPUT"]
    content: list[ContentBlock]
    outputScope: Literal["INTERVENTIONS", "FULL"] = Field(  # noqa: N815 - Bedrock's own name
        default="INTERVENTIONS",
        description="FULL also lists filters that found nothing.",
    )


class AwsError(BaseModel):
    """AWS's answer to an error; the class of the exception is in the header x-amzn-errortype."""

    message: str


def error_answer(failure: FailureAnswer) -> ErrorAnswer:
    """Return an error as botocore reads it: the exception's class, and a message."""
    status, kind = _EXCEPTIONS.get(failure.status, (400, "ValidationException"))
    headers = {**failure.headers, _TYPE_HEADER: kind}
    return ErrorAnswer(status=status, body={"message": failure.message}, headers=headers)


ERRORS = ErrorForm(paths=("/guardrail",), answer=error_answer)


def router(service: Service) -> APIRouter:
    """Return the route `POST /guardrail/{identifier}/version/{version}/apply`."""
    refusals = described(AwsError, 400, 403, 404, 500, 503)
    routes = APIRouter(tags=["Amazon Bedrock"], responses=refusals)

    # An identifier may be an ARN, which has a slash.
    @routes.post(
        "/guardrail/{identifier:path}/version/{version}/apply",
        summary="Amazon Bedrock's ApplyGuardrail",
    )
    async def apply(
        body: ApplyGuardrailRequest,
        request: Request,
        response: Response,
        _identifier: Annotated[str, Path(alias="identifier", description=_ANY)],
        _version: Annotated[str, Path(alias="version", description=_ANY)],
    ) -> dict[str, object]:
        side: Side = "response" if body.source == "OUTPUT" else "request"
        said = tuple(block.text.text for block in body.content if block.text is not None)
        decisions: list[BlockDecision] = []

        async def decide(texts: tuple[str, ...]) -> BlockDecision:
            read = _read(body, texts, side)
            if not read.passages and not read.unread:
                raise InputError("content holds no text and nothing else that could be judged")
            decision = await decide_blocking(
                service,
                read,
                route="bedrock",
                caller=request.state.caller,
                side=side,
                questions=_questions(body) if side == "response" else (),
            )
            decisions.append(decision)
            return decision

        decision, texts = await decide_masking(said, decide, mask_texts)
        response.headers.update(decision.headers)
        found = [verdict for one in decisions for verdict in one.blocked]
        return _answer(body, decision, found, masked=None if texts == said else texts)

    return routes


def _read(body: ApplyGuardrailRequest, texts: Sequence[str], side: Side) -> BodyText:
    """Read each block as a turn of its own, in the words of Converse, which the reader knows.

    `texts` take the places of the blocks' own.
    """
    speaker = "assistant" if side == "response" else "user"
    turns = []
    left = iter(texts)
    for block in body.content:
        if block.image is not None:
            turns.append({"role": speaker, "content": [{"image": block.image.model_dump()}]})
        elif block.text is not None:
            role = _SPEAKERS.get(_qualifier(block.text), speaker)
            turns.append({"role": role, "content": [{"text": next(left)}]})
    return read_value({"messages": turns}, side)


def _qualifier(text: TextBlock) -> str:
    """Return the qualifier that says who speaks; a grounding source is never the user's."""
    return next((name for name in _SPEAKERS if name in text.qualifiers), "")


def _questions(body: ApplyGuardrailRequest) -> tuple[str, ...]:
    """Return the queries that came with an output."""
    texts = [block.text for block in body.content if block.text is not None]
    return tuple(text.text for text in texts if _qualifier(text) == "query")


def _answer(
    body: ApplyGuardrailRequest,
    decision: BlockDecision,
    found: Sequence[Verdict],
    masked: Sequence[str] | None,
) -> dict[str, object]:
    """Return AWS's answer.

    Args:
        body: the request.
        decision: on what is returned.
        found: verdicts on what was blocked or masked.
        masked: every text as it is returned; None if none was masked.
    """
    n_characters = sum(len(block.text.text) for block in body.content if block.text is not None)
    n_images = sum(block.image is not None for block in body.content)
    # Where an image blocks at once, nothing was read.
    n_read = 0 if decision.unsafe is None else n_characters
    units = -(-n_read // _UNIT_CHARACTERS)
    blocked = decision.reason is not None
    outputs = [decision.reason] if blocked else list(masked or ())
    filters = _filters(found, "BLOCKED" if blocked else "NONE")
    if body.outputScope == "FULL":
        named = {entry["type"] for entry in filters}
        filters += [
            {"type": kind, "confidence": "NONE", "action": "NONE", "detected": False}
            for kind in ("INSULTS", "HATE", "SEXUAL", "VIOLENCE", "MISCONDUCT", "PROMPT_ATTACK")
            if kind not in named
        ]
    assessment: dict[str, object] = {"contentPolicy": {"filters": filters}} if filters else {}
    coverage = {
        "textCharacters": {"guarded": n_read, "total": n_characters},
        **({"images": {"guarded": 0, "total": n_images}} if n_images else {}),
    }
    return {
        "usage": {
            "topicPolicyUnits": 0,
            "contentPolicyUnits": units,
            "wordPolicyUnits": 0,
            "sensitiveInformationPolicyUnits": 0,
            "sensitiveInformationPolicyFreeUnits": 0,
            "contextualGroundingPolicyUnits": 0,
        },
        "action": "GUARDRAIL_INTERVENED" if outputs else "NONE",
        "actionReason": decision.reason or ("Guardrail masked." if outputs else "No action."),
        "outputs": [{"text": text} for text in outputs],
        "assessments": [assessment] if assessment else [],
        "guardrailCoverage": coverage,
    }


def _filters(verdicts: Sequence[Verdict], action: FilterAction) -> list[dict[str, object]]:
    """Return the filters that found something, each with its greatest confidence."""
    greatest: dict[str, float] = {}
    for verdict in verdicts:
        for kind in named_categories(verdict, "bedrock", _FALLBACK):
            greatest[kind] = max(greatest.get(kind, 0.0), verdict.unsafe)
    return [
        {
            "type": kind,
            "confidence": _confidence(unsafe),
            "action": action,
            "detected": True,
        }
        for kind, unsafe in greatest.items()
    ]


def _confidence(unsafe: float) -> Confidence:
    if unsafe >= _HIGH:
        return "HIGH"
    return "MEDIUM" if unsafe >= _MEDIUM else "LOW"
