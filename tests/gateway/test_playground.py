"""The playground's own script shows an answer of the server; run by Node with a few elements."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from tests.support.served import served
from tests.support.tagger import LEVEL, write_tagged_panel

_NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(_NODE is None, reason="no Node.js")

# As much of a browser's document as the script uses. Answers are on the standard input.
_PAGE = """
const {script, answers, text} = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const make = (name) => ({
  name, children: [], style: {}, listeners: {}, className: "", title: "", value: "", words: "",
  set textContent(words) { this.words = words; this.children = []; },
  get textContent() { return this.words; },
  append(...nodes) { this.children.push(...nodes); },
  replaceChildren(...nodes) { this.children = nodes; },
  addEventListener(kind, listener) { this.listeners[kind] = listener; },
  requestSubmit() { return this.listeners.submit({preventDefault() {}}); },
});
const ids = {};
globalThis.document = {
  createElement: make,
  getElementById: (id) => ids[id] ??= Object.assign(make(id), {children: [make("i"), make("b")]}),
};
globalThis.location = {search: "?" + new URLSearchParams({text})};
globalThis.fetch = async (url) => ({ok: true, json: async () => answers[url]});
const seen = (node) => typeof node === "string" ? node
  : {name: node.name, class: node.className, title: node.title,
     content: [node.words, ...node.children.map(seen)].filter((one) => one !== "")};
eval(script);
setTimeout(() => console.log(JSON.stringify(
  {levels: ids.levels.children.map(seen), read: ids.read.children.map(seen),
   error: ids.error.textContent})), 50);
"""


@pytest.fixture(scope="module")
def client(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = write_tagged_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))
    with served(Gate.open(folder, engine=EngineOptions(threads=1))) as client:
        yield client


def _shown(client: TestClient, text: str) -> Any:  # noqa: ANN401 - JSON
    (script,) = re.findall(r"<script>(.*?)</script>", client.get("/").text, flags=re.DOTALL)
    asked = {"text": text, "all_levels": True, "levels": "all"}
    answers = {
        "info": client.get("/info").json(),
        "v1/check": client.post("/v1/check", json=asked).json(),
    }
    assert _NODE is not None
    given = json.dumps({"script": script, "answers": answers, "text": text})
    done = subprocess.run(
        [_NODE, "-e", _PAGE], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["error"] == ""
    return shown


def _words(nodes: list[Any]) -> str:
    return "".join(node if isinstance(node, str) else _words(node["content"]) for node in nodes)


def test_spans_are_marked_in_the_text_of_their_level(client: TestClient) -> None:
    text = "\U0001f469\u200d\U0001f4bb e\u0301 good\r\n<b>world</b> \u05d3"
    levels = _shown(client, text)["levels"]
    (lane,) = (node for node in levels if node["class"] == "spans")
    title = [node for node in levels if node["name"] == "h2"][-1]
    assert title["content"] == [f"{LEVEL}: NAME, ADDRESS"]
    assert levels.index(lane) > levels.index(title)
    marks = [node for node in lane["content"] if not isinstance(node, str)]
    assert [(mark["name"], mark["content"][0]) for mark in marks] == [
        ("mark", "good"),
        ("mark", "world"),
    ]
    assert [_words(mark["content"][1]["content"]) for mark in marks] == ["NAME", "ADDRESS"]
    assert re.fullmatch(r"NAME (0\.999|1\.000)", marks[0]["title"])
    # The text itself, between the marks and in them.
    parts = [node if isinstance(node, str) else node["content"][0] for node in lane["content"]]
    assert "".join(parts) == text


def test_a_text_without_spans_is_shown_without_marks(client: TestClient) -> None:
    shown = _shown(client, "or")
    (lane,) = (node for node in shown["levels"] if node["class"] == "spans")
    assert lane["content"] == ["or"]
    assert _words(shown["read"]) == "or"
