"""Heads of levels beside a cascade, one of each kind: they flag by a label, by any, by none."""

from hazgate.judging.classification import LabelHead

INJECTION = LabelHead(
    labels=("none", "injection"),
    activation="softmax",
    positive="injection",
    thresholds=(0.5, 0.6),
)
INJECTION_THRESHOLD = 0.6
PII = LabelHead(
    labels=("email", "phone", "address", "name", "id_number", "payment"),
    activation="sigmoid",
    positive=None,
    thresholds=(0.5, 0.5, 0.7, 0.5, 0.3, 0.5),
)
TOPIC = LabelHead(
    labels=("chat", "legal", "maths"),
    activation="softmax",
    positive=None,
    thresholds=(0.5, 0.5, 0.5),
)
PANEL = {"injection": INJECTION, "pii": PII, "topic": TOPIC}
