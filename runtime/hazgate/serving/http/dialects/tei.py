"""Text Embeddings Inference's `POST /predict`.

One string, or a list of one, is a single text. A flat list of two is a pair of texts in TEI, which
this model does not accept. A batch is a list of lists. Scores come in descending order. The
statuses are TEI's: 422 for invalid requests, 429 for overload, 424 for a failed backend.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from hazgate.errors import DeadlineExceeded, HazgateError, InputError, Overloaded
from hazgate.serving.failures import RETRY_AFTER_S
from hazgate.serving.http.dialects.classify import LabelScore, label_scores
from hazgate.serving.http.dialects.refusals import REFUSALS
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service


class PredictRequest(BaseModel):
    """The request of TEI's clients. `truncate` must not be true: texts are read whole."""

    model_config = ConfigDict(extra="ignore")

    inputs: str | list[str] | list[list[str]]
    raw_scores: bool = False
    truncate: bool | None = None


class TeiError(BaseModel):
    """TEI's answer to an error."""

    error: str
    error_type: str


class _Route(APIRoute):
    """A route that answers a malformed body in TEI's form, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_in_teis_form(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                return _failure(InputError("the body is not a request as described at /docs"))

        return handle_in_teis_form


def router(service: Service) -> APIRouter:
    """Return the route `POST /predict`."""
    routes = APIRouter(tags=["Text Embeddings Inference"], responses=REFUSALS, route_class=_Route)

    @routes.post(
        "/predict",
        summary="Text Embeddings Inference's classification",
        response_model=list[LabelScore] | list[list[LabelScore]],
        responses={code: {"model": TeiError} for code in (422, 424, 429)},
    )
    async def predict(
        body: PredictRequest, request: Request
    ) -> list[LabelScore] | list[list[LabelScore]] | Response:
        try:
            texts, is_single = _texts(body)
            verdicts = await service.check(
                Ask(texts=texts, caller=request.state.caller), route="predict"
            )
        except HazgateError as error:
            return _failure(error)
        gate = service.gate
        answers = [sorted(label_scores(v, gate), key=lambda item: -item.score) for v in verdicts]
        return answers[0] if is_single else answers

    return routes


def _texts(body: PredictRequest) -> tuple[list[str], bool]:
    """Return the texts, and whether the answer is for a single text instead of a list."""
    if body.raw_scores:
        raise InputError("raw_scores is not supported: scores are probabilities; leave it out")
    if body.truncate:
        raise InputError(
            "truncate is not supported: long texts are read whole, in windows; leave it out"
        )
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


def _failure(error: HazgateError) -> JSONResponse:
    status, kind, headers = 424, "backend", {}
    if isinstance(error, InputError):
        status, kind = 422, "validation"
    elif isinstance(error, (Overloaded, DeadlineExceeded)):
        status, kind, headers = 429, "overloaded", {"retry-after": str(RETRY_AFTER_S)}
    return JSONResponse({"error": str(error), "error_type": kind}, status, headers=headers)
