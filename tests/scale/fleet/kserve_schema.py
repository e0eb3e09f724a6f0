"""Check manifests strictly, in the environment of KServe's SDK; print their problems as JSON.

An InferenceService is compared with the SDK's models, field by field: the SDK ships no schema,
and its deserialiser ignores unknown fields. The schemas of kubernetes-validate check
Kubernetes' own documents.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import kserve
import kubernetes.client
import kubernetes_validate

_SCALARS = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}
# Quantities and ports, which are either.
_EITHER = ("object", "V1beta1MetricQuantity")


def problems_of(kind: str, data: Any, path: str = "$") -> Iterator[str]:  # noqa: ANN401 - any YAML value
    """Give the problems of `data` as a model of that name."""
    if kind in _EITHER:
        return
    if kind == "datetime" or kind in _SCALARS:
        if not isinstance(data, _SCALARS.get(kind, (str,))):
            yield f"{path}: expected {kind}"
        return
    nested = re.fullmatch(r"(list|dict)[\[(](?:str, )?(.*)[\])]", kind, re.IGNORECASE)
    if nested:
        items = enumerate(data) if nested[1].lower() == "list" else data.items()
        for key, item in items:
            yield from problems_of(nested[2], item, f"{path}.{key}")
        return
    # KServe's own, or Kubernetes', which it names by where they come from.
    name = re.sub(r"^K8sIoApi[A-Z][a-z]+(V\d)", r"\1", kind)
    model = getattr(kserve, kind, None) or getattr(kubernetes.client, name)
    fields = {model.attribute_map[field]: field for field in model.openapi_types}
    for key, value in data.items():
        if key not in fields:
            yield f"{path}.{key}: unknown field of {kind}"
        else:
            yield from problems_of(model.openapi_types[fields[key]], value, f"{path}.{key}")
    try:
        # Fields that must be there.
        model(**{fields[key]: value for key, value in data.items() if key in fields})
    except ValueError as error:
        yield f"{path}: {error}"


def check(document: dict[str, Any]) -> Iterator[str]:
    """Give the problems of one manifest."""
    if document["apiVersion"].startswith("serving.kserve.io/"):
        yield from problems_of(f"V1beta1{document['kind']}", document)
        return
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{document['kind']}: {error.message}"


if __name__ == "__main__":
    documents = json.load(sys.stdin)
    json.dump([list(check(document)) for document in documents], sys.stdout)
