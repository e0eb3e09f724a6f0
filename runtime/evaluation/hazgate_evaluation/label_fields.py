"""The labels of a row for a level of any name: a field that is named as the level."""

from collections.abc import Mapping

from hazgate.documents.jsonl import LineError
from hazgate.judging.classification import LabelHead


def labels_in(fields: Mapping[str, object], level: str, head: LabelHead) -> tuple[str, ...] | None:
    """Return the labels that hold for a row, in the level's order; None if they are not known.

    The field is one label of a softmax level, and a list of labels, perhaps empty, of a
    multi-label level. Without the field, or with null, nothing is known.

    Raises:
        LineError: the field is something else, or names a label that the level does not have.
    """
    value = fields.get(level)
    if value is None:
        return None
    known = ", ".join(head.labels)
    if head.activation == "softmax":
        if not isinstance(value, str) or value not in head.labels:
            raise LineError(f"{level}: expected one of {known}, or null")
        return (value,)
    if not isinstance(value, list) or any(
        not isinstance(item, str) or item not in head.labels for item in value
    ):
        raise LineError(f"{level}: expected a list of {known}, or null")
    if len(set(value)) < len(value):
        raise LineError(f"{level}: expected each label once")
    return tuple(label for label in head.labels if label in value)
