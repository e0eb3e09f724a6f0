"""The Model Context Protocol over JSON-RPC: requests to tools, and what tools answer."""

from hazgate.serving.bodies.apis.common import DEFINITIONS, FREE, MIME, PARTS, SETTING
from hazgate.serving.bodies.fields import Api, Field, one_of

_METHODS = one_of(
    *("initialize", "ping", "tools/call", "tools/list", "prompts/get", "prompts/list"),
    *("resources/read", "resources/list", "resources/subscribe", "resources/unsubscribe"),
    *("resources/templates/list", "completion/complete", "sampling/createMessage", "roots/list"),
    *("elicitation/create", "logging/setLevel", "notifications/initialized"),
    *("notifications/cancelled", "notifications/progress", "notifications/message"),
)

API = Api(
    name="Model Context Protocol",
    fields={
        ("body", "jsonrpc"): SETTING,
        ("body", "method"): Field(form=_METHODS),
        ("body", "params"): Field(place="body"),
        ("body", "result"): Field(place="body", role="tool"),
        ("body", "structuredContent"): Field(place="free", role="tool"),
        ("body", "systemPrompt"): Field(role="system"),
        ("body", "resources"): DEFINITIONS,
        ("body", "prompts"): DEFINITIONS,
        ("part", "resource"): Field(place="part", role="tool", joined=True),
        ("part", "annotations"): FREE,
        ("part", "mimeType"): MIME,
        ("part", "blob"): Field(place="media", unread="file"),
        ("turn", "content"): PARTS,
    },
    types={"resource": "tool", "resource_link": "tool"},
    media={"audio": "audio"},
)
