"""Text Embeddings Inference's `POST /predict`.

One string, or a list of one, is a single text. A flat list of two is a pair of texts in TEI, which
this model does not accept. A batch is a list of lists. Scores come in descending order. The
statuses are TEI's: 422 for invalid requests, 429 for overload, 424 for a failed backend.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from hazgate.errors import InputError
from hazgate.judge import check_scores_suffice
from hazgate.serving.failures import RETRY_AFTER_S, FailureAnswer
from hazgate.serving.http.dialects.classify import LabelScore, label_scores
from hazgate.serving.http.dialects.inputs import PROBABILITIES, WHOLE, check_texts, only
from hazgate.serving.http.dialects.refusals import described
from hazgate.serving.http.error_forms import ErrorAnswer, ErrorForm
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service


class PredictParameters(BaseModel):
    """Options that Hugging Face's client sends beside the text."""

    model_config = ConfigDict(extra="forbid")

    function_to_apply: Annotated[str | None, only(None, "softmax", reason=PROBABILITIES)] = None
    top_k: int | None = Field(default=None, ge=1, description="Labels to answer; all by default.")


class PredictRequest(BaseModel):
    """The request of TEI's clients. Options that would change what is read are refused.

    `truncate` must not be true: texts are read whole. Then its direction changes nothing.
    """

    model_config = ConfigDict(extra="forbid")

    inputs: str | list[str] | list[list[str]]
    raw_scores: Annotated[bool, only(False, reason=PROBABILITIES)] = False
    truncate: Annotated[bool | None, only(None, False, reason=WHOLE)] = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None
    parameters: PredictParameters | None = None


class TeiError(BaseModel):
    """TEI's answer to an error."""

    error: str
    error_type: str


def error_answer(failure: FailureAnswer) -> ErrorAnswer:
    """Return an error as TEI does: 422 for requests, 429 for overload, 424 for the backend."""
    status, kind, headers = 424, "backend", failure.headers
    if failure.code in ("invalid_input", "invalid_request"):
        status, kind = 422, "validation"
    elif failure.code in ("overloaded", "deadline_exceeded"):
        status, kind, headers = 429, "overloaded", {"retry-after": str(RETRY_AFTER_S)}
    elif failure.status < 500:
        status, kind = failure.status, "validation"
    return ErrorAnswer(
        status=status, body={"error": failure.message, "error_type": kind}, headers=headers
    )


ERRORS = ErrorForm(paths=("/predict",), answer=error_answer)


def router(service: Service) -> APIRouter:
    """Return the route `POST /predict`."""
    refusals = described(TeiError, 400, 401, 408, 413, 422, 424, 429)
    routes = APIRouter(tags=["Text Embeddings Inference"], responses=refusals)

    @routes.post("/predict", summary="Text Embeddings Inference's classification")
    async def predict(
        body: PredictRequest, request: Request
    ) -> list[LabelScore] | list[list[LabelScore]]:
        texts, is_single = _texts(body)
        check_texts(texts, "inputs")
        ask = Ask(texts=texts, caller=request.state.caller)
        classified = await service.classify(ask, route="predict")
        check_scores_suffice(service.judge, classified, service.tenant_of(request.state.caller))
        top_k = body.parameters.top_k if body.parameters else None
        answers = [
            sorted(label_scores(c), key=lambda item: -item.score)[:top_k] for c in classified
        ]
        return answers[0] if is_single else answers

    return routes


def _texts(body: PredictRequest) -> tuple[list[str], bool]:
    """Return the texts, and whether the answer is for a single text instead of a list."""
    if isinstance(body.inputs, str):
        return [body.inputs], True
    texts = []
    for item in body.inputs:
        if isinstance(item, str):
            if len(body.inputs) > 1:
                raise InputError(
                    "a flat list of several strings is a pair of texts, which this model does not "
                    "accept; send a batch as a list of lists"
                )
            return [item], True
        if len(item) != 1:
            raise InputError(
                f"each element of a batch must be a list of one text, got one of {len(item)}"
            )
        texts.append(item[0])
    return texts, False
