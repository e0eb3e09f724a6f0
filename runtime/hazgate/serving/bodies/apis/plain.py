"""Texts without turns: completions, embeddings, reranking, classification, images, speech."""

from hazgate.serving.bodies.apis.common import FREE, MODEL, SETTING
from hazgate.serving.bodies.fields import Api, Field, is_opaque

_TEXT = Field(place="free", role="user")
_OR_IDS = Field(place="free", role="user", ids=True)

API = Api(
    name="completions, embeddings, rerank, images and speech",
    fields={
        ("body", "prompt"): _OR_IDS,
        ("body", "inputs"): Field(place="turn", role="user", ids=True),
        ("body", "input_ids"): Field(ids=True),
        ("body", "token_ids"): Field(ids=True),
        ("body", "prompt_token_ids"): Field(ids=True),
        ("body", "tokens"): Field(ids=True),
        ("body", "suffix"): _TEXT,
        ("body", "query"): _TEXT,
        ("body", "queries"): _TEXT,
        ("body", "question"): _TEXT,
        ("body", "passages"): Field(place="free", role="tool"),
        ("body", "texts"): _TEXT,
        ("body", "negative_prompt"): _TEXT,
        # Bytes or an address; anything else in their place is read.
        ("body", "image"): Field(place="media", form=is_opaque, unread="image"),
        ("body", "image_url"): Field(place="media", form=is_opaque, unread="image"),
        ("body", "audio"): Field(place="media", form=is_opaque, unread="audio"),
        ("body", "video"): Field(place="media", form=is_opaque, unread="video"),
        ("body", "voice"): SETTING,
        ("body", "parameters"): FREE,
        ("body", "embedding_types"): SETTING,
        ("body", "input_type"): SETTING,
        ("body", "variant"): MODEL,
    },
    types={},
    media={},
)
