"""Logging: JSON lines of warnings and, if wanted, one line per request. Never a text."""

import logging
from collections import Counter
from typing import Any

from hazgate.serving.request_id import current_request_id
from hazgate.serving.service import RequestFacts

_REQUESTS = "hazgate.requests"
_LOG = logging.getLogger(_REQUESTS)


def log_config(*, requests: bool) -> dict[str, Any]:
    """Return settings for `logging.config.dictConfig`: everything goes to stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "loggers": {
            "hazgate": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            _REQUESTS: {"level": "INFO" if requests else "WARNING"},
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        },
    }


def log_request(facts: RequestFacts) -> None:
    """Log a request that ended."""
    hazards = Counter(v.hazard for v in facts.verdicts if v.flagged and v.hazard is not None)
    _LOG.info(
        "request",
        extra={
            "request_id": current_request_id.get(),
            "route": facts.route,
            "outcome": facts.outcome,
            "seconds": round(facts.seconds, 6),
            "texts": facts.n_texts,
            "flagged": sum(verdict.flagged for verdict in facts.verdicts),
            "hazards": dict(hazards),
            "labels": dict(Counter(label for each in facts.labels for label in each.labels)),
            "tokens": sum(answer.tokens.read for answer in facts.answers),
            "unknown_tokens": sum(answer.tokens.unknown for answer in facts.answers),
            "truncated": sum(answer.truncated for answer in facts.answers),
            "not_understood": sum(not answer.understood for answer in facts.answers),
            "unvouched": sum(answer.language is not None for answer in facts.answers),
        },
    )
