"""A user's own code, `package.module:function`, found and known by its source; nothing of it is run here.

Modules are looked for on the Python path and, after it, in a folder: the current one, where commands are typed. What a function
is made of is its module and, from import to import, every module of the same top-level package or beside it in the same folder;
installed packages that it imports are not counted.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cbam_search.errors import OwnCodeError

INSTALLED = frozenset({"site-packages", "dist-packages"})


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Modules are found on the Python path and, after it, in `folder`; the current folder is put back at the end.

    After it also where the path begins with that folder, as for a script that lies there: workers find what this process finds.
    """
    entry, here = str(folder), os.getcwd()  # noqa: PTH109
    named = folder.resolve() in folders_of_python_path()
    first = [each for each in sys.path[:1] if Path(each).resolve() == folder.resolve() and not named]
    writes_bytecode = sys.dont_write_bytecode
    sys.path[:] = [*sys.path[len(first) :], entry]
    # A file edited twice within a second is told by its text, not by the time that bytecode goes by.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have changed it
            sys.path.remove(entry)
        sys.path[:0] = first
        sys.dont_write_bytecode = writes_bytecode
        with suppress(OSError):
            os.chdir(here)


def folders_of_python_path() -> set[Path]:
    """What PYTHONPATH names, resolved; entries that are empty name the current folder and do not count."""
    return {Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}


def check_not_hidden(module: str, folder: Path) -> None:
    """Raise OwnCodeError where `folder` has a module whose name Python finds elsewhere first."""
    top = module.partition(".")[0]
    own = own_place(top, folder)
    if own is None:
        return
    if top in sys.stdlib_module_names:
        raise OwnCodeError(f"{own} has the name of a module of Python's own, which is found instead of it: rename it")
    with importing_from(folder):
        found = _find_top(top)
    places = [] if found is None else [*([found.file] if found.file else []), *found.folders]
    if places and all(folder.resolve() not in place.resolve().parents for place in places):
        raise OwnCodeError(f"{own} has the name of {places[0]}, which is found instead of it: rename it")


def own_place(top: str, folder: Path) -> Path | None:
    """The file or folder of `folder` that a top-level module of that name would be."""
    return next((place for place in (folder / f"{top}.py", folder / top) if place.exists()), None)


def check_defined(name: str, folder: Path) -> None:
    """Raise OwnCodeError where it can be told without running anything that there is no such function."""
    module_name, _, function_name = name.partition(":")
    tree = _parse(source_files(name, folder)[module_name])
    defined = set(_defined(tree.body))
    if function_name not in defined and not defined & {"*", "__getattr__"}:
        raise OwnCodeError(f"{module_name} has no function '{function_name}'.{did_you_mean(function_name, defined)}")


def check_found(module: str, folder: Path) -> None:
    """Raise OwnCodeError where there is no such module, or another one of its name is found first; nothing is run."""
    if module in sys.modules:  # made by a program, as in a notebook, it may have no file
        check_not_hidden(module, folder)
    else:
        _required(module, folder)


def source_digest(name: str, folder: Path) -> str:
    """SHA-256 over all that `source_files` finds; nothing is run. Raises OwnCodeError."""
    return digest_of(source_files(name, folder))


def source_files(name: str, folder: Path) -> dict[str, Path]:
    """The files that the function `name` is made of, by module, in the order of their names; nothing is run.

    Raises OwnCodeError when the module is not found, or is no Python source.
    """
    module = name.partition(":")[0]
    found = _required(module, folder)
    with importing_from(folder):
        if found.file is None:
            raise OwnCodeError(f"the module '{module}' is a folder, not a module: {_looked_for(folder)}")
        if found.file.suffix != ".py" or module == "__main__":
            raise OwnCodeError(
                f"the module '{module}' has no source of its own: write the function into a file, such as net.py"
            )
        return dict(sorted(_imported_files(module).items()))


def _required(module: str, folder: Path) -> _Found:
    check_not_hidden(module, folder)
    with importing_from(folder):
        found = _find(module)
    if found is None:
        without = module.removesuffix(".py")
        hint = f" A module's name has no .py: write {without}:..., if that is meant." if without != module else ""
        raise OwnCodeError(f"the module '{module}' is not found: {_looked_for(folder)}.{hint}".removesuffix("."))
    return found


def _looked_for(folder: Path) -> str:
    return f"modules are looked for on the Python path and in {folder}. Run the command in the folder that holds it"


@dataclass(frozen=True)
class _Found:
    """file: of a module or of a package's __init__. folders: where submodules lie."""

    file: Path | None
    folders: tuple[Path, ...] = ()


def _find(module: str) -> _Found | None:
    top, *rest = module.split(".")
    found = _find_top(top)
    for name in rest:
        if found is None:
            return None
        found = _find_below(found.folders, name)
    return found


def _find_top(name: str) -> _Found | None:
    for finder in sys.meta_path:
        if (spec := finder.find_spec(name, None)) is not None:
            folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
            return _Found(Path(spec.origin) if spec.has_location and spec.origin else None, folders)
    return None


def _find_below(folders: Iterable[Path], name: str) -> _Found | None:
    for folder in folders:
        if (file := folder / name / "__init__.py").is_file():
            return _Found(file, (folder / name,))
        if (file := folder / f"{name}.py").is_file():
            return _Found(file)
    namespace = tuple(folder / name for folder in folders if (folder / name).is_dir())
    return _Found(None, namespace) if namespace else None


def _imported_files(module: str) -> dict[str, Path]:
    """`module` and what it imports of the same top-level package or folder, each with its file."""
    home = _folder_of(module.partition(".")[0])
    files: dict[str, Path] = {}
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        top = name.partition(".")[0]
        same_package = top == module.partition(".")[0]
        beside = home is not None and top not in sys.stdlib_module_names and top != __package__ and _folder_of(top) == home
        if not (same_package or beside):
            continue
        found = _find(name)
        if found is not None and found.file is not None and found.file.suffix == ".py":
            files[name] = found.file
            waiting.extend(_imports(_parse(found.file), name, is_package=bool(found.folders)))
    return files


def _folder_of(top: str) -> Path | None:
    """The folder that a top-level module or package lies in; None for installed ones, whose neighbours are strangers."""
    found = _find_top(top)
    if found is None:
        return None
    place = found.folders[0] if found.folders else found.file
    return None if place is None or INSTALLED & set(place.parts) else place.resolve().parent


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise OwnCodeError(f"{file}{f':{line}' if line else ''} is not Python: {getattr(error, 'msg', error)}") from None


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    """Names of modules that may be imported, at the top or inside functions; some may be names in a module."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that a module's statements define, `*` among them where it imports everything of another."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                yield child.id
            elif isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield child.name
            elif isinstance(child, ast.Import | ast.ImportFrom):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in child.names)


def digest_of(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for module, file in files.items():
        text = file.read_bytes()
        digest.update(f"{module} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """` Did you mean ...?`, or nothing."""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
