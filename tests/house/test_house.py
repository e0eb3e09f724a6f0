"""The repository as a newcomer meets it: its map and its links."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hazgate.cli.group import ELSEWHERE, ENTRY_POINTS, cli
from hazgate_export.__main__ import cli as export_cli
from tests.support.sources import PACKAGES, ROOT, modules, tracked

ARCHITECTURE = ROOT / "ARCHITECTURE.md"


def _listed_folders() -> set[str]:
    """Read the folder tree of ARCHITECTURE.md; two spaces of indentation are one level."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    parents: list[str] = []
    folders = set()
    for line in block.splitlines():
        match = re.match(r"( *)(\S+)/(?:\s|$)", line)
        assert match is not None, f"ARCHITECTURE.md: no folder in {line!r}"
        depth = len(match[1]) // 2
        parents[depth:] = [match[2]]
        folders.add("/".join(parents))
    return folders


def test_the_map_names_every_package_folder_and_no_other() -> None:
    with_code = {path.relative_to(ROOT).parent.as_posix() for path, _ in modules(*PACKAGES)}
    assert _listed_folders() == with_code


def test_the_map_is_short() -> None:
    lines = ARCHITECTURE.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 120] == []


def test_the_map_names_every_extra_and_command() -> None:
    section = ARCHITECTURE.read_text(encoding="utf-8").split("\n## ")[1]
    extras = {
        name
        for path in tracked("*pyproject.toml")
        for table in re.findall(
            r"^\[project\.optional-dependencies\]\n(.*?)(?:^\[|\Z)",
            path.read_text(encoding="utf-8"),
            flags=re.DOTALL | re.MULTILINE,
        )
        for name in re.findall(r"^([a-z0-9-]+) = \[", table, flags=re.MULTILINE)
    }
    joined = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    commands = {*cli.commands, *export_cli.commands, *ELSEWHERE, *joined}
    missing = {
        name
        for name in extras | commands
        if not re.search(rf"`(hazgate )?(hazgate-export )?{name}`", section)
    }
    assert missing == set()


def _anchors(page: Path) -> set[str]:
    """Derive the anchors of a page's headings as GitHub does."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    slugs = set()
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = next(
            n for n in range(len(headings)) if (f"{slug}-{n}" if n else slug) not in slugs
        )
        slugs.add(f"{slug}-{number}" if number else slug)
    return slugs


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_source_file_that_a_page_names_is_there() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in tracked("*")]
    gone = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in tracked("*.md")
        for name in re.findall(
            r"`([\w./-]+/[\w.-]+\.(?:py|toml|jsonl|yaml|cc|h))`", page.read_text(encoding="utf-8")
        )
        # A page may show where a file of any name would go.
        if "NAME" not in name and not any(f"/{file}".endswith(f"/{name}") for file in files)
    ]
    assert gone == []
