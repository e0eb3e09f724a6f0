"""Azure AI Content Safety's `POST /contentsafety/text:analyze`.

Azure answers severities and leaves the decision to its client. Most clients refuse from 4 on, and
some from 2, so a severity follows from the decision and not from a probability alone:

| decision on the text                        | severity | of eight levels |
| ------------------------------------------- | -------- | --------------- |
| not flagged                                 | 0        | 0               |
| flagged by the policy, but not blocked      | 2        | 2               |
| blocked, or flagged where no policy is used | 4        | 4, from 0.7: 5  |
| the same, and P(unsafe) is 0.9 or more      | 6        | 6, from 0.99: 7 |

Hazards that Azure does not have, such as privacy, come as Violence. There are no blocklists here.

Source: the REST API 2023-10-01, as azure-ai-contentsafety 1.0.0 reads it.
"""

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from hazgate.judging.verdict import Verdict
from hazgate.serving.failures import FailureAnswer
from hazgate.serving.http.dialects.categories import named_categories
from hazgate.serving.http.dialects.inputs import check_texts, only
from hazgate.serving.http.dialects.refusals import Refusal, described
from hazgate.serving.http.error_forms import ErrorAnswer, ErrorForm
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service

AzureCategory = Literal["Hate", "SelfHarm", "Sexual", "Violence"]
OutputType = Literal["FourSeverityLevels", "EightSeverityLevels"]
_FALLBACK: AzureCategory = "Violence"
_BLOCKLISTS = "is not supported: this server has no blocklists; leave it out"
# Lowest P(unsafe) of the eight levels from 4 to 7.
_LEVELS = ((0.99, 7), (0.9, 6), (0.7, 5))
_LOWEST_BLOCKED, _FLAGGED = 4, 2

_CODES = {401: "Unauthorized", 404: "NotFound", 413: "RequestBodyTooLarge", 503: "ServerBusy"}


class AnalyzeRequest(BaseModel):
    """The request of Azure's clients. A text may be longer than Azure's 10,000 characters."""

    model_config = ConfigDict(extra="forbid")

    text: str
    categories: list[AzureCategory] | None = Field(
        default=None, min_length=1, description="Categories to answer; None asks for all."
    )
    blocklist_names: Annotated[
        list[str] | None, only(None, [], reason=_BLOCKLISTS), Field(alias="blocklistNames")
    ] = None
    halt_on_blocklist_hit: bool | None = Field(
        default=None, alias="haltOnBlocklistHit", description="Without blocklists nothing is hit."
    )
    output_type: OutputType = Field(default="FourSeverityLevels", alias="outputType")


class CategoryAnalysis(BaseModel):
    """The severity of one category, from 0 to 6 or 7."""

    category: AzureCategory
    severity: int


class AnalyzeResponse(BaseModel):
    """Azure's answer; no blocklist ever matches."""

    blocklistsMatch: list[str]  # noqa: N815 - Azure's own name
    categoriesAnalysis: list[CategoryAnalysis]  # noqa: N815


def error_answer(failure: FailureAnswer) -> ErrorAnswer:
    """Return an error as Azure's clients read it: a code and a message."""
    status = 400 if failure.status == 422 else failure.status
    code = "InvalidRequestBody" if status == 400 else _CODES.get(status, "InternalError")
    body = {"error": {"code": code, "message": failure.message}}
    return ErrorAnswer(status=status, body=body, headers=failure.headers)


ERRORS = ErrorForm(paths=("/contentsafety",), answer=error_answer)


def router(service: Service) -> APIRouter:
    """Return the route `POST /contentsafety/text:analyze`."""
    refusals = described(Refusal, 400, 401, 408, 413, 500, 503, 504)
    routes = APIRouter(tags=["Azure AI Content Safety"], responses=refusals)

    @routes.post("/contentsafety/text:analyze", summary="Azure's analysis of a text")
    async def analyze(
        body: AnalyzeRequest,
        request: Request,
        _: Annotated[
            str, Query(alias="api-version", pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$")
        ],
    ) -> AnalyzeResponse:
        check_texts([body.text], "text")
        ask = Ask(texts=[body.text], caller=request.state.caller)
        (verdict,) = await service.check(ask, route="azure")
        wanted = body.categories or get_args(AzureCategory)
        found = severities(verdict)
        step = 1 if body.output_type == "EightSeverityLevels" else 2
        return AnalyzeResponse(
            blocklistsMatch=[],
            categoriesAnalysis=[
                CategoryAnalysis(category=name, severity=found.get(name, 0) // step * step)
                for name in get_args(AzureCategory)
                if name in wanted
            ],
        )

    return routes


def severities(verdict: Verdict) -> dict[str, int]:
    """Return the severity, of eight levels, of each category that a text falls under."""
    decision = verdict.decision
    if decision.action == "allow" if decision is not None else not verdict.flagged:
        return {}
    level = next((n for least, n in _LEVELS if verdict.unsafe >= least), _LOWEST_BLOCKED)
    if decision is not None and decision.action == "flag":
        level = _FLAGGED
    return dict.fromkeys(named_categories(verdict, "azure", _FALLBACK), level)
