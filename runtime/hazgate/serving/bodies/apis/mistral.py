"""Mistral's documents, in chats and for its OCR; the rest is as in OpenAI's chat completions."""

from hazgate.serving.bodies.apis.common import FILE
from hazgate.serving.bodies.fields import Api

API = Api(
    name="Mistral",
    fields={
        ("body", "document"): FILE,
        ("part", "document_url"): FILE,
        ("media", "document_url"): FILE,
        ("media", "image_url"): FILE,
    },
    types={},
    media={"document_url": "file"},
)
