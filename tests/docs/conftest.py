"""The pages, and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str


BLOCKS = tuple(Block(page.name, *found) for page in PAGES for found in _FENCED.findall(page.read_text(encoding="utf-8")))


def _command_lines() -> list[tuple[str, str]]:
    """(page, line) of each line in bash and console blocks, without its comment."""
    shell = [block for block in BLOCKS if block.language in ("bash", "console", "sh")]
    lines = [(block.page, line.partition(" #")[0].strip()) for block in shell for line in block.text.splitlines()]
    return [(page, line) for page, line in lines if line]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`command`: one line of a bash block. `yaml_block`: one YAML block. `page_path`: one page."""
    if "command" in metafunc.fixturenames:
        lines = _command_lines()
        metafunc.parametrize("command", [line for _, line in lines], ids=[f"{page}: {line}" for page, line in lines])
    if "yaml_block" in metafunc.fixturenames:
        found = [block for block in BLOCKS if block.language == "yaml"]
        metafunc.parametrize("yaml_block", [block.text for block in found], ids=[block.page for block in found])
    if "page_path" in metafunc.fixturenames:
        metafunc.parametrize("page_path", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def blocks() -> Callable[[str, str], list[str]]:
    """blocks(page, language): the texts of that page's blocks in that language, in order."""

    def of(page: str, language: str) -> list[str]:
        return [block.text for block in BLOCKS if (block.page, block.language) == (page, language)]

    return of
