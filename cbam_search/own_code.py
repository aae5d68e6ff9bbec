"""A user's own code, `package.module:function`: found without running it, known by its source, imported only where allowed.

Modules are looked for on the Python path and, after it, in a folder: the current one, where commands are typed. What a function
is made of is its module and, from import to import, every module of the same top-level package or beside it in the same folder;
installed packages that it imports are not counted.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbam_search.errors import CodeNotAllowedError, OwnCodeError

INSTALLED = frozenset({"site-packages", "dist-packages"})
_imported: dict[str, str] = {}
"""What was imported here, by module: the digest of its file then."""


def require_permission(allow_code: bool, what: str) -> None:
    """Raise CodeNotAllowedError unless code may run; `what` says in a sentence whose code it is."""
    if not allow_code:
        raise CodeNotAllowedError(
            f"{what} Code that a YAML file or an architecture names is run only with --allow-code (in Python, "
            f"allow_code=True): read it first."
        )


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Modules are found on the Python path and, after it, in `folder`."""
    entry = str(folder)
    writes_bytecode = sys.dont_write_bytecode
    sys.path.append(entry)
    # A file edited twice within a second is told by its text, not by the time that bytecode goes by.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)
        sys.dont_write_bytecode = writes_bytecode


def import_function(name: str, folder: Path) -> Callable[..., Any]:
    """The function `package.module:function`, its module imported anew where its source has changed since.

    Raises OwnCodeError when it is not found, or importing its module fails.
    """
    module_name, _, function_name = name.partition(":")
    digests = {each: _digest({each: file}) + str(file) for each, file in source_files(name, folder).items()}
    if any(_imported.get(each, digest) != digest for each, digest in digests.items()):
        for each in digests:
            if _imported.pop(each, None):
                sys.modules.pop(each, None)
    # What somebody else imported is theirs: it stays as it is.
    _imported.update({each: digest for each, digest in digests.items() if each not in sys.modules})
    with importing_from(folder):
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise OwnCodeError(f"{module_name} cannot be imported: {in_words(error)}") from error
    if not callable(function := getattr(module, function_name, None)):
        found = [each for each, value in vars(module).items() if callable(value)]
        raise OwnCodeError(f"{module_name} has no function '{function_name}'.{_nearest(function_name, found)}")
    return function  # type: ignore[no-any-return]


def in_words(error: BaseException) -> str:
    """Type and message of an error in the user's code, and the line it came from: of that code, where it has one."""
    everything = traceback.extract_tb(error.__traceback__)
    package = Path(__file__).parent
    theirs = [frame for frame in everything if not (_is_installed(frame.filename) or package in Path(frame.filename).parents)]
    frames = theirs or everything
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _is_installed(file: str) -> bool:
    return file.startswith("<") or bool(INSTALLED & set(Path(file).parts))


def check_defined(name: str, folder: Path) -> None:
    """Raise OwnCodeError where it can be told without running anything that there is no such function."""
    module_name, _, function_name = name.partition(":")
    tree = _parse(source_files(name, folder)[module_name])
    defined = set(_defined(tree.body))
    if function_name not in defined and not defined & {"*", "__getattr__"}:
        raise OwnCodeError(f"{module_name} has no function '{function_name}'.{_nearest(function_name, defined)}")


def source_digest(name: str, folder: Path) -> str:
    """SHA-256 over all that `source_files` finds; nothing is run. Raises OwnCodeError."""
    return _digest(source_files(name, folder))


def source_files(name: str, folder: Path) -> dict[str, Path]:
    """The files that the function `name` is made of, by module, in the order of their names; nothing is run.

    Raises OwnCodeError when the module is not found, or is no Python source.
    """
    module = name.partition(":")[0]
    with importing_from(folder):
        found = _find(module)
        if found is None or found.file is None:
            problem = "is not found" if found is None else "is a folder, not a module"
            raise OwnCodeError(
                f"the module '{module}' {problem}: modules are looked for on the Python path and in {folder}. Run the command "
                f"in the folder that holds it"
            )
        if found.file.suffix != ".py" or module == "__main__":
            raise OwnCodeError(
                f"the module '{module}' has no source of its own: write the function into a file, such as net.py"
            )
        return dict(sorted(_reached(module).items()))


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


def _reached(module: str) -> dict[str, Path]:
    """`module` and what it imports of the same top-level package or folder, each with its file."""
    home = _home(module.partition(".")[0])
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
        beside = home is not None and top not in sys.stdlib_module_names and top != __package__ and _home(top) == home
        if not (same_package or beside):
            continue
        found = _find(name)
        if found is not None and found.file is not None and found.file.suffix == ".py":
            files[name] = found.file
            waiting.extend(_imports(_parse(found.file), name, is_package=bool(found.folders)))
    return files


def _home(top: str) -> Path | None:
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


def _digest(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for module, file in files.items():
        text = file.read_bytes()
        digest.update(f"{module} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _nearest(name: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
