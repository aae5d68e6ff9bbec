"""The text of the project's own modules, merged into one file that imports torch and the standard library only."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable

PACKAGE = "cbam_search"


def merge_modules(names: Iterable[str]) -> tuple[str, str]:
    """The import lines, then the merged text, of these modules and of those that they import from this package.

    Each module's docstring becomes the comment at its head. Modules come after what they import.
    """
    ordered: dict[str, ast.Module] = {}
    for name in names:
        _collect(name, ordered)
    return _import_lines(ordered.values()), "\n\n\n".join(_text(name, tree) for name, tree in ordered.items())


def _collect(name: str, ordered: dict[str, ast.Module]) -> None:
    if name in ordered:
        return
    tree = ast.parse(_source(name))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}."):
            _collect(node.module, ordered)
    ordered[name] = tree


def _source(name: str) -> str:
    return inspect.getsource(importlib.import_module(name))


def _text(name: str, tree: ast.Module) -> str:
    """Source of a module without its imports, its docstring as a comment."""
    lines = _source(name).splitlines()
    dropped = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    docstring = ast.get_docstring(tree)
    if docstring is not None:
        dropped.append(tree.body[0])  # type: ignore[arg-type]
    for node in dropped:
        lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)  # type: ignore[operator]
    body = "\n".join(lines).strip("\n")
    paragraphs = (docstring or "").split("\n\n")
    comment = "\n#\n".join(textwrap.fill(p, 124, initial_indent="# ", subsequent_indent="# ") for p in paragraphs)
    return f"{comment}\n\n\n{body}"


def _import_lines(trees: Iterable[ast.Module]) -> str:
    """Sorted imports from outside the package, the standard library first."""
    plain: set[tuple[str, str]] = set()
    members: dict[str, set[str]] = defaultdict(set)
    for node in (node for tree in trees for node in tree.body):
        if isinstance(node, ast.Import):
            plain |= {(alias.name, ast.unparse(alias)) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members[node.module] |= {ast.unparse(alias) for alias in node.names}
    lines = [(module, f"import {text}") for module, text in sorted(plain)]
    lines += [(module, f"from {module} import {', '.join(sorted(found))}") for module, found in sorted(members.items())]
    kept = [(module.split(".")[0], line) for module, line in lines if not module.startswith((PACKAGE, "__future__"))]
    standard = [line for root, line in kept if root in sys.stdlib_module_names]
    others = [line for root, line in kept if root not in sys.stdlib_module_names]
    return "\n".join([*standard, "", *others])
