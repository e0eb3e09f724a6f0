"""OpenTelemetry, set up by its own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT, …).

A span a request, within the caller's trace, with what logs and metrics tell; nothing of a text.
Needs `hazgate[otel]`.
"""

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

# Probes and figures are asked every few seconds.
_NOT_TRACED = "/health/.*,/v2/health/.*,/metrics"


class Traces:
    """Where spans come from and go to; to be closed by its owner."""

    def __init__(self) -> None:
        """Sends spans from now on, in the background."""
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
        """`app` with a span around every request but those of probes."""
        return OpenTelemetryMiddleware(
            app,
            excluded_urls=_NOT_TRACED,
            tracer_provider=self._provider,
            # Bodies in pieces are of no interest.
            exclude_spans=["receive", "send"],
        )

    def add(self, facts: RequestFacts) -> None:
        """Writes to the request's span what became of it."""
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
                "hazgate.tokens": sum(verdict.tokens.read for verdict in facts.verdicts),
            }
        )

    def close(self) -> None:
        """Sends what is left; blocks until it is sent, or given up."""
        self._provider.shutdown()
