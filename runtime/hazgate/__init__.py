"""hazgate: run an ONNX safety classifier inside an LLM gateway.

>>> from hazgate import Gate
>>> gate = Gate.open("build/mini")                              # doctest: +SKIP
>>> gate.check("How to hack into someone's email account")      # doctest: +SKIP
"""

from hazgate.bundle.bundle import Bundle
from hazgate.classifier import Classifier
from hazgate.engine.buckets import Bucket
from hazgate.engine.options import EngineOptions, Shapes
from hazgate.errors import (
    BundleError,
    DeadlineExceeded,
    HazgateError,
    InferenceError,
    InputError,
    IntegrityError,
    ManifestError,
    OutputError,
    Overloaded,
    PolicyError,
    ProviderError,
)
from hazgate.gate import Gate
from hazgate.judging.classification import Classification
from hazgate.judging.policy import Policy
from hazgate.judging.verdict import (
    LabelledSpan,
    LevelResult,
    ModelIdentity,
    PolicyDecision,
    PolicyIdentity,
    Span,
    TokenCount,
    Verdict,
)
from hazgate.text.conversation import ConversationVerdict, Message, parse_messages
from hazgate.text.reading import Reading
from hazgate.text.watch import Watch
from hazgate.token_classifier import TokenClassifier, TokenResult

__version__ = "0.1.0"

__all__ = [
    "Bucket",
    "Bundle",
    "BundleError",
    "Classification",
    "Classifier",
    "ConversationVerdict",
    "DeadlineExceeded",
    "EngineOptions",
    "Gate",
    "HazgateError",
    "InferenceError",
    "InputError",
    "IntegrityError",
    "LabelledSpan",
    "LevelResult",
    "ManifestError",
    "Message",
    "ModelIdentity",
    "OutputError",
    "Overloaded",
    "Policy",
    "PolicyDecision",
    "PolicyError",
    "PolicyIdentity",
    "ProviderError",
    "Reading",
    "Shapes",
    "Span",
    "TokenClassifier",
    "TokenCount",
    "TokenResult",
    "Verdict",
    "Watch",
    "parse_messages",
]
