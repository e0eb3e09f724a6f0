"""Harmless requests in the shapes of the APIs that agents speak, written for these tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "data" / "harmless-requests.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class HarmlessRequest:
    """One request: a name for people, its path, headers and JSON body."""

    name: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return json.dumps(self.body, ensure_ascii=False).encode()


def _read() -> list[HarmlessRequest]:
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [
        HarmlessRequest(
            name=row["name"],
            path=row["path"],
            headers={"content-type": "application/json", **row["headers"]},
            body=row["body"],
        )
        for row in map(json.loads, lines)
    ]


HARMLESS = _read()
