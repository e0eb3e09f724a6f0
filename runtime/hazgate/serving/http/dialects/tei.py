"""Text Embeddings Inference's `POST /predict`.

One string, or a list of one, is a single text; a flat list of two is a pair of texts in TEI, which
this model does not take; a batch is a list of lists. Scores come in descending order. TEI's own
statuses: 422 for what it cannot take, 429 for too much, 424 for a backend that failed.
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
from hazgate.serving.service import Service


class PredictRequest(BaseModel):
    """What TEI's clients send. `truncate` must not ask for less to be read than is sent."""

    model_config = ConfigDict(extra="ignore")

    inputs: str | list[str] | list[list[str]]
    raw_scores: bool = False
    truncate: bool | None = None


class TeiError(BaseModel):
    """What TEI answers to what went wrong."""

    error: str
    error_type: str


class _Route(APIRoute):
    """Says in TEI's words, too, that a body is not a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_in_teis_words(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                return _failure(InputError("the body is not a request as /docs describes it"))

        return handle_in_teis_words


def router(service: Service) -> APIRouter:
    """`POST /predict`."""
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
            verdicts = await service.check(texts, route="predict", caller=request.state.caller)
        except HazgateError as error:
            return _failure(error)
        gate = service.engine.batcher.gate
        labels, positive = gate.level1.labels, gate.bundle.manifest.cascade.positive_label
        answers = [
            sorted(label_scores(v, labels, positive), key=lambda item: -item.score)
            for v in verdicts
        ]
        return answers[0] if is_single else answers

    return routes


def _texts(body: PredictRequest) -> tuple[list[str], bool]:
    """The texts, and whether the answer is one text's and no list of them."""
    if body.raw_scores:
        raise InputError("raw_scores is not offered: a verdict has probabilities")
    if body.truncate:
        raise InputError("truncate is not offered: long texts are read whole, in windows")
    if isinstance(body.inputs, str):
        return [body.inputs], True
    texts = []
    for item in body.inputs:
        if isinstance(item, str):
            if len(body.inputs) > 1:
                raise InputError(
                    "a flat list of several strings is a pair of texts; a batch is a list of lists"
                )
            return [item], True
        if len(item) != 1:
            raise InputError("each element of a batch is a list of one text")
        texts.append(item[0])
    return texts, False


def _failure(error: HazgateError) -> JSONResponse:
    status, kind, headers = 424, "backend", {}
    if isinstance(error, InputError):
        status, kind = 422, "validation"
    elif isinstance(error, (Overloaded, DeadlineExceeded)):
        status, kind, headers = 429, "overloaded", {"retry-after": str(RETRY_AFTER_S)}
    return JSONResponse({"error": str(error), "error_type": kind}, status, headers=headers)
