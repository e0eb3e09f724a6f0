"""OpenTelemetry, set up by its own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT, …).

One span per request, within the caller's trace, with the facts of the logs; nothing of a text.
Needs `hazgate[otel]`.
"""

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import ASGIApp

from hazgate import __version__
from hazgate.errors import BundleError
from hazgate.serving.request_id import current_request_id
from hazgate.serving.service import RequestFacts

# Names of OpenTelemetry's attributes, old and new, that hold a URL with its query.
_URLS = ("http.url", "http.target", "url.full", "url.path")
# Probes and metrics are read every few seconds.
_NOT_TRACED = "/health/.*,/v2/health/.*,/metrics"


def _without_query(span: trace.Span, scope: Mapping[str, Any]) -> None:
    """Take a request's query out of its span: below /ext_authz it may hold another API's key."""
    if not span.is_recording() or not scope.get("query_string"):
        return
    given: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    for name in _URLS:
        if name in given:
            span.set_attribute(name, str(given[name]).partition("?")[0])
    if "url.query" in given:
        span.set_attribute("url.query", "")


class Traces:
    """A provider and exporter of spans; its owner must close it."""

    def __init__(self) -> None:
        """Start sending spans, in the background."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            # xds-protos of hazgate[grpc] carries older copies of OpenTelemetry's own messages.
            raise BundleError(
                f"traces cannot be exported: {error}. Another package has overwritten "
                "OpenTelemetry's messages; put them back: "
                "pip install --force-reinstall --no-deps opentelemetry-proto"
            ) from error
        # Environment variables win over what is given here.
        resource = Resource.create({"service.name": "hazgate", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with a span around every request except probes."""
        return OpenTelemetryMiddleware(
            app,
            excluded_urls=_NOT_TRACED,
            tracer_provider=self._provider,
            server_request_hook=_without_query,
            # No spans for single parts of a body.
            exclude_spans=["receive", "send"],
        )

    def add(self, facts: RequestFacts) -> None:
        """Add the outcome of a request to its span."""
        trace.get_current_span().set_attributes(
            {
                "hazgate.request_id": current_request_id.get(),
                "hazgate.route": facts.route,
                "hazgate.outcome": facts.outcome,
                "hazgate.texts": facts.n_texts,
                "hazgate.flagged": sum(verdict.flagged for verdict in facts.verdicts),
                "hazgate.hazards": sorted(
                    {v.hazard for v in facts.verdicts if v.flagged and v.hazard is not None}
                ),
                "hazgate.tokens": sum(answer.tokens.read for answer in facts.answers),
            }
        )

    def close(self) -> None:
        """Send the remaining spans; block until they are sent or given up."""
        self._provider.shutdown()
