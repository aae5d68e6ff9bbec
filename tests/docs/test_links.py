"""Links of the pages lead to a file and, where they name one, to a heading in it; the index names every page."""

from __future__ import annotations

import re
from pathlib import Path

_TARGET = re.compile(r"""\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)\"""")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _targets(page: Path) -> list[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [markdown or html for markdown, html in _TARGET.findall(text)]


def _anchors(page: Path) -> set[str]:
    """GitHub's names of the headings: lower case, hyphens for spaces, without other marks."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(page_path: Path) -> None:
    for target in _targets(page_path):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        leads_to = page_path.parent / path if path else page_path
        assert leads_to.exists(), target
        assert not anchor or anchor in _anchors(leads_to), f"{target}: no such heading"


def test_the_index_has_a_line_for_every_page(root: Path) -> None:
    index = root / "docs" / "README.md"
    listed = re.findall(r"^- \[[^]]+\]\(([\w-]+\.md)\): \S", index.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in (root / "docs").glob("*.md") if page != index)
