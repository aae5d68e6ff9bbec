"""A user's own code: found and hashed without running it, imported anew when it has changed, and only with permission."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from cbam_search.errors import CodeNotAllowedError, OwnCodeError
from cbam_search.own_code import NO_CODE, CodePermission, import_function
from cbam_search.own_source import check_defined, source_digest, source_files


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__in__", "/__init__").replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class TestPermission:
    def test_gives_the_folder_or_says_whose_code_it_is_and_what_to_do(self, tmp_path: Path) -> None:
        assert CodePermission(tmp_path).require("x") == tmp_path
        with pytest.raises(CodeNotAllowedError, match=r"The net is built by a:b\. .* only with --allow-code .*read it first"):
            NO_CODE.require("The net is built by a:b.")

    def test_keeps_the_folder_it_was_given_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        allowed = CodePermission.of(True)
        monkeypatch.chdir(tmp_path.parent)
        assert allowed.require("x") == tmp_path
        assert CodePermission.of(False) == NO_CODE

    @pytest.mark.parametrize("code", [NO_CODE, CodePermission(Path("/somewhere"))])
    def test_goes_to_another_process_as_it_is(self, code: CodePermission) -> None:
        assert pickle.loads(pickle.dumps(code)) == code


class TestSource:
    def test_is_the_module_and_what_it_imports_of_its_own(self, tmp_path: Path) -> None:
        write(tmp_path, nets="import json, torch\nimport layers\ndef f():\n    from helper import x\n", layers="import gates")
        write(tmp_path, gates="", helper="x = 1", other="")
        assert list(source_files("nets:f", tmp_path)) == ["gates", "helper", "layers", "nets"]

    def test_follows_packages_their_parents_and_relative_imports(self, tmp_path: Path) -> None:
        (tmp_path / "pack" / "deep").mkdir(parents=True)
        (tmp_path / "pack" / "__init__.py").write_text("")
        (tmp_path / "pack" / "deep" / "__init__.py").write_text("from ..base import Base")
        (tmp_path / "pack" / "deep" / "net.py").write_text("from . import parts\nfrom .. import base\nfrom pack.more import *")
        for name in ("deep/parts", "base", "more", "unrelated"):
            (tmp_path / "pack" / f"{name}.py").write_text("")
        found = source_files("pack.deep.net:f", tmp_path)
        assert list(found) == ["pack", "pack.base", "pack.deep", "pack.deep.net", "pack.deep.parts", "pack.more"]

    def test_folders_without_init_are_packages_too(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "net.py").write_text("from a.b import parts\ndef f(): return parts.x")
        (tmp_path / "a" / "b" / "parts.py").write_text("x = 5")
        assert list(source_files("a.b.net:f", tmp_path)) == ["a.b.net", "a.b.parts"]
        assert import_function("a.b.net:f", tmp_path)() == 5

    def test_neither_installed_packages_nor_this_one_nor_rings_matter(self, tmp_path: Path) -> None:
        write(tmp_path, ring1="import ring2, numpy, cbam_search.pareto", ring2="import ring1")
        assert list(source_files("ring1:f", tmp_path)) == ["ring1", "ring2"]

    def test_its_digest_changes_with_any_of_its_files_and_with_no_other(self, tmp_path: Path) -> None:
        write(tmp_path, nets1="import layers1", layers1="x = 1", other1="x = 1")
        before = source_digest("nets1:f", tmp_path)
        write(tmp_path, other1="x = 2")
        assert source_digest("nets1:f", tmp_path) == before
        write(tmp_path, layers1="x = 2")
        assert source_digest("nets1:f", tmp_path) != before

    def test_its_digest_depends_neither_on_the_place_nor_on_what_is_loaded(self, tmp_path: Path) -> None:
        for folder in (tmp_path / "one", tmp_path / "two"):
            folder.mkdir()
            write(folder, nets2="import layers2\nprint('ran')\ndef f(): pass", layers2="")
        first = source_digest("nets2:f", tmp_path / "one")
        import_function("nets2:f", tmp_path / "one")
        code = (
            "import pathlib; from cbam_search.own_source import source_digest; print(source_digest('nets2:f', pathlib.Path()))"
        )
        options = {"cwd": tmp_path / "two", "capture_output": True, "text": True, "check": True}
        assert subprocess.run([sys.executable, "-c", code], **options).stdout.strip() == first


class TestNamesOfOtherModules:
    @pytest.mark.parametrize(
        ("name", "whose"), [("profile", "Python's own"), ("torch", "torch"), ("cbam_search", "cbam_search")]
    )
    @pytest.mark.parametrize("is_folder", [False, True])
    def test_are_refused_with_the_file_that_is_to_be_renamed(
        self, tmp_path: Path, name: str, whose: str, is_folder: bool
    ) -> None:
        write(tmp_path, **{f"{name}__net" if is_folder else name: "def f(): pass"})
        module = f"{name}.net" if is_folder else name
        with pytest.raises(OwnCodeError, match=rf"{name}.* has the name of .*{whose}.*rename it"):
            source_files(f"{module}:f", tmp_path)

    def test_are_refused_where_the_path_begins_with_the_folder_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, pydantic="def f(): pass", net8="def f(): return 8")
        monkeypatch.syspath_prepend(str(tmp_path))
        before = list(sys.path)
        with pytest.raises(OwnCodeError, match="pydantic"):
            source_files("pydantic:f", tmp_path)
        assert import_function("net8:f", tmp_path)() == 8
        assert sys.path == before

    @pytest.mark.parametrize("text", ["from queue import mine", "import queue\nqueue.mine()"])
    def test_are_named_where_the_user_s_code_means_its_own(self, tmp_path: Path, text: str) -> None:
        write(tmp_path, net9=f"{text}\ndef f(): pass", queue="def mine(): pass")
        with pytest.raises(OwnCodeError, match=r"queue\.py beside it has the name of another module.*rename it"):
            import_function("net9:f", tmp_path)

    def test_the_current_folder_is_put_back(self, tmp_path: Path) -> None:
        here = Path.cwd()
        write(tmp_path, net10="import os\nos.chdir('/')\ndef f(): pass")
        import_function("net10:f", tmp_path)
        assert Path.cwd() == here


class TestImporting:
    def test_an_edit_is_seen_even_within_a_second_and_of_the_same_length(self, tmp_path: Path) -> None:
        for value in (1, 2, 3):
            write(tmp_path, net3="from part3 import x\ndef f(): return x", part3=f"x = {value}")
            assert import_function("net3:f", tmp_path)() == value

    def test_the_same_name_in_another_folder_is_another_module(self, tmp_path: Path) -> None:
        for value in (1, 2):
            folder = tmp_path / str(value)
            folder.mkdir()
            write(folder, net4=f"def f(): return {value}")
            assert import_function("net4:f", folder)() == value

    def test_what_has_not_changed_is_not_imported_again(self, tmp_path: Path) -> None:
        write(tmp_path, net5="def f(): pass")
        assert import_function("net5:f", tmp_path) is import_function("net5:f", tmp_path)

    def test_the_path_is_as_before_and_no_bytecode_is_left(self, tmp_path: Path) -> None:
        before = list(sys.path)
        write(tmp_path, net6="def f(): pass")
        import_function("net6:f", tmp_path)
        assert sys.path == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["net6.py"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (
                "import no_such_package_here",
                r"bad cannot be imported: ModuleNotFoundError: .*no_such_package_here.* \(bad.py:1\)",
            ),
            ("raise SystemExit(3)", r"SystemExit: 3 \(bad.py:1\)"),
            ("def f(:\n", r"bad.py:1 is not Python: "),
            ("def build_it(): pass", "bad has no function 'builder_it'. Did you mean 'build_it'?"),
            ("builder_it = 3", "bad has no function 'builder_it'"),
        ],
    )
    def test_what_goes_wrong_is_said(self, tmp_path: Path, text: str, words: str) -> None:
        write(tmp_path, bad=text)
        with pytest.raises(OwnCodeError, match=words):
            import_function("bad:builder_it", tmp_path)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("nowhere_at_all:f", "the module 'nowhere_at_all' is not found: .* Run the command in the folder that holds it"),
            ("json.nowhere:f", "the module 'json.nowhere' is not found"),
            ("folder:f", "the module 'folder' is a folder, not a module"),
            ("math:sqrt", "the module 'math' .*"),
            ("__main__:f", "the module '__main__' .*"),
        ],
    )
    def test_a_module_without_source_here_is_refused(self, tmp_path: Path, name: str, words: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(OwnCodeError, match=words):
            import_function(name, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "def wanted(): pass",
        "class wanted: pass",
        "wanted = lambda: None",
        "from json import loads as wanted",
        "from json import *",
        "try:\n    from no_such import wanted\nexcept ImportError:\n    def wanted(): pass",
        "def __getattr__(name): return print",
    ],
)
def test_a_function_is_found_without_running_its_module(tmp_path: Path, text: str) -> None:
    write(tmp_path, static=f"{text}\nraise RuntimeError('ran')")
    check_defined("static:wanted", tmp_path)


def test_a_function_that_is_not_there_is_missed_without_running_its_module(tmp_path: Path) -> None:
    write(tmp_path, static="def wants(): wanted = 1\nraise RuntimeError('ran')")
    with pytest.raises(OwnCodeError, match="Did you mean 'wants'"):
        check_defined("static:wanted", tmp_path)
