"""Class names that stand once, and docstrings that begin with a verb or a noun."""

import ast
from collections import defaultdict

from tests.support.sources import PACKAGES, ROOT, modules

# First words of sentences that have a relative clause for a subject, or no noun at all.
RELATIVE = frozenset(
    ("What", "Whether", "Which", "Of", "Who", "Whose", "Whoever", "How", "Where", "Why", "Whatever")
)


def test_every_public_class_name_stands_once() -> None:
    places = defaultdict(list)
    for path, module in modules(*PACKAGES):
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_docstring_begins_with_a_relative_clause() -> None:
    found = []
    for path, module in modules(*PACKAGES, "tests"):
        for node in ast.walk(module):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or " ").split()[:1]
                if first and first[0].strip(",.:;") in RELATIVE:
                    line = getattr(node, "lineno", 1)
                    found.append(f"{path.relative_to(ROOT)}:{line}: {first[0]} …")
    assert found == []
