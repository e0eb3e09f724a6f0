"""The table of all known fields, and of the words that are keys and no text."""

from collections.abc import Mapping

from hazgate.judging.speech import Role, UnreadKind
from hazgate.serving.bodies.apis import (
    anthropic,
    bedrock,
    cohere,
    gemini,
    mcp,
    mistral,
    ollama,
    openai_chat,
    openai_responses,
    plain,
)
from hazgate.serving.bodies.fields import Api, Field, Form, Place, words

APIS: tuple[Api, ...] = (
    openai_chat.API,
    openai_responses.API,
    anthropic.API,
    gemini.API,
    bedrock.API,
    cohere.API,
    ollama.API,
    mistral.API,
    mcp.API,
    plain.API,
)

# Names of settings whose values are numbers or truth values, of names and texts, and of JSON
# Schema's own words: keys that are read like any other where they are not in this list.
KEYS = words(
    """
    temperature top_p top_k min_p n max_tokens max_completion_tokens max_output_tokens
    maxOutputTokens maxTokens topP topK candidateCount stop stop_sequences stopSequences
    stream stream_options include_usage presence_penalty frequency_penalty
    repetition_penalty seed logit_bias logprobs top_logprobs parallel_tool_calls store
    background budget_tokens thinkingConfig thinkingBudget includeThoughts num_predict
    num_ctx created created_at usage prompt_tokens completion_tokens total_tokens
    input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens index
    output_index content_index summary_index sequence_number done total_duration
    load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration name text
    title description type role content parameters properties required enum items anyOf
    oneOf allOf additionalProperties strict default format minimum maximum minLength
    maxLength minItems maxItems pattern const input_schema inputSchema outputSchema schema
    json_schema function functions $ref $defs $schema definitions exclusiveMinimum
    exclusiveMaximum nullable examples display_name isError is_error thought error message
    code param id usageMetadata promptTokenCount candidatesTokenCount totalTokenCount object
    model max_tool_calls max_num_results cache_control temperature reasoning_content
    reasoning refusal annotations metrics latencyMs inputTokens outputTokens totalTokens
    qualifiers filename context citations readOnlyHint destructiveHint idempotentHint
    openWorldHint progressToken _meta uri mimeType dimensions truncate normalize prompt_name
    encoding_format return_documents top_n raw_scores ignore_eos skip_special_tokens effort
    summary generate_summary ttl mode latency guardrailIdentifier guardrailVersion trace
    """
)

# JSON Schema's own values of `type` and `format`.
SCHEMA_WORDS = words(
    """
    object array string number integer boolean null OBJECT ARRAY STRING NUMBER INTEGER
    BOOLEAN date date-time time email uri uuid int32 int64 float double enum function custom
    http://json-schema.org/draft-07/schema# https://json-schema.org/draft/2020-12/schema
    """
)


def _merged() -> dict[tuple[Place, str], Field]:
    fields: dict[tuple[Place, str], Field] = {}
    for api in APIS:
        for key, field in api.fields.items():
            known = fields.get(key)
            fields[key] = field if known is None else _both(known, field)
    return fields


def _both(first: Field, second: Field) -> Field:
    """Describe a field that two APIs know: what either calls no text is none."""
    form = first.form or second.form
    if first.form is not None and second.form is not None and first.form is not second.form:
        form = _either(first.form, second.form)
    return Field(
        place=first.place or second.place,
        role=first.role or second.role,
        form=form,
        unread=first.unread or second.unread,
        joined=first.joined or second.joined,
        apart=first.apart or second.apart,
        nested=first.nested or second.nested,
        ids=first.ids or second.ids,
    )


def _either(first: Form, second: Form) -> Form:
    return lambda value: first(value) or second(value)


FIELDS: Mapping[tuple[Place, str], Field] = _merged()
TYPES: Mapping[str, Role | None] = {k: v for api in APIS for k, v in api.types.items()}
MEDIA: Mapping[str, UnreadKind] = {k: v for api in APIS for k, v in api.media.items()}


# Keys that answers and errors may spell; any other is a caller's own word.
NAMES: frozenset[str] = frozenset(key for _, key in FIELDS) | KEYS


def fields_at(place: Place) -> Mapping[str, Field]:
    """Give the known fields of objects at a place, by key."""
    return {key: field for (at, key), field in FIELDS.items() if at == place}
