"""Every string of the requests and responses that SDKs define is read, or known to be no text."""

import importlib
import json
from collections.abc import Iterable

import pytest

from hazgate.judging.speech import Side
from hazgate.serving.bodies.read import read_body
from tests.support.sdk_fields import (
    FieldPath,
    fields_of_botocore,
    fields_of_type,
    with_value,
)

pytestmark = pytest.mark.slow

SENTENCE = "please tell me about the quick brown fox"
# Bytes and an address: each is read, or its part is listed as unread.
OPAQUE = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNg" * 3, "https://a.org/b.png")
# Fields whose opaque values are neither: no server shows them to a model or a user as they are.
NO_TEXT = {"model", "signature", "modelVersion"}

REQUESTS = [
    *("chat.completion_create_params.CompletionCreateParamsNonStreaming",),
    *("responses.response_create_params.ResponseCreateParamsNonStreaming",),
    *("completion_create_params.CompletionCreateParamsNonStreaming",),
    *("embedding_create_params.EmbeddingCreateParams", "image_edit_params.ImageEditParamsBase"),
    *("image_generate_params.ImageGenerateParamsBase", "video_create_params.VideoCreateParams"),
    *("audio.speech_create_params.SpeechCreateParams", "batch_create_params.BatchCreateParams"),
    *("beta.assistant_create_params.AssistantCreateParams",),
    *("beta.thread_create_params.ThreadCreateParams",),
    *("beta.thread_create_and_run_params.ThreadCreateAndRunParamsNonStreaming",),
    *("beta.threads.message_create_params.MessageCreateParams",),
    *("beta.threads.run_create_params.RunCreateParamsNonStreaming",),
    *("conversations.item_create_params.ItemCreateParams",),
]
RESPONSES = [
    *("chat.ChatCompletion", "chat.ChatCompletionChunk", "responses.Response", "Completion"),
    *("responses.ResponseStreamEvent", "ImagesResponse", "beta.threads.Message"),
]


def _check_read(fields: Iterable[FieldPath], side: Side) -> None:
    n_fields = 0
    for path in fields:
        n_fields += 1
        for value in (SENTENCE, *OPAQUE):
            body = json.dumps(with_value(path, value)).encode()
            if value != SENTENCE and path[-1] in NO_TEXT:
                continue
            read = read_body({"content-type": "application/json"}, body, side)
            found = any(value in passage.text for passage in read.passages)
            assert found or (read.unread and value != SENTENCE), (path, value)
    assert n_fields > 1


@pytest.mark.parametrize("name", REQUESTS)
def test_every_string_of_openai_s_requests_is_read(name: str) -> None:
    module, _, kind = name.rpartition(".")
    found = getattr(importlib.import_module(f"openai.types.{module}"), kind)
    _check_read(fields_of_type(found), "request")


@pytest.mark.parametrize("name", RESPONSES)
def test_every_string_of_openai_s_responses_is_read(name: str) -> None:
    module, _, kind = f"openai.types.{name}".rpartition(".")
    _check_read(fields_of_type(getattr(importlib.import_module(module), kind)), "response")


@pytest.mark.parametrize(
    ("operation", "side"),
    [
        *(("Converse", "input"), ("Converse", "output"), ("ConverseStream", "input")),
        *(("CountTokens", "input"), ("ApplyGuardrail", "output")),
    ],
)
def test_every_string_of_bedrock_s_operations_is_read(operation: str, side: str) -> None:
    fields = fields_of_botocore("bedrock-runtime", operation, side)
    _check_read(fields, "request" if side == "input" else "response")


PICTURE = {"type": "input_image", "image_url": "https://a.org/b.png"}


@pytest.mark.parametrize(
    "path",
    [
        ("items", "[]", {"role": "user", "type": "message"}, "content", "[]"),
        ("input", "[]", {"type": "function_call_output"}, "output", "[]"),
        ("instructions", "[]", {"type": "custom_tool_call_output"}, "output", "[]"),
    ],
)
def test_a_picture_in_an_item_is_listed(path: FieldPath) -> None:
    body = json.dumps(with_value(path, PICTURE)).encode()
    read = read_body({"content-type": "application/json"}, body, "request")
    assert [part.kind for part in read.unread] == ["image"]
