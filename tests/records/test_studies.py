"""How studies are made in their folder, and found there again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from permissions import unprivileged
from studies import make_study

from cbam_search.errors import StudyNotFoundError, UserError
from cbam_search.records.folder import STUDIES_VARIABLE
from cbam_search.records.studies import create_study_folder, find_study


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    names = [create_study_folder(tmp_path, "digits").path.name for _ in range(3)]
    assert names == ["digits", "digits-2", "digits-3"]


@pytest.mark.parametrize("name", ["", "latest", "../up", "a b", "-x", "x" * 101])
def test_names_that_cannot_be_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot name a study"):
        create_study_folder(tmp_path, name)


def test_found_by_name_by_folder_and_as_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_study(tmp_path, "b", 1.0), make_study(tmp_path, "a", 2.0)
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path))
    assert find_study("b") == first
    assert find_study(str(second.path)) == second
    assert find_study("latest") == second


def test_a_folder_that_cannot_hold_studies_is_the_readers_business(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for parent in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"records\.folder"):
            create_study_folder(parent, "digits")


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    make_study(tmp_path, "digits", 1.0)
    with pytest.raises(StudyNotFoundError, match="Did you mean 'digits'"):
        find_study("digist", tmp_path)
    with pytest.raises(StudyNotFoundError, match="none at all"):
        find_study("digits", tmp_path / "elsewhere")
    with pytest.raises(StudyNotFoundError, match="cbam-search launch"):
        find_study("latest", tmp_path / "elsewhere")


def test_a_folder_without_manifest_is_no_study(tmp_path: Path) -> None:
    create_study_folder(tmp_path, "half")
    with pytest.raises(StudyNotFoundError):
        find_study("half", tmp_path)


LOOK = (
    "import sys; from pathlib import Path; from cbam_search.errors import UserError\n"
    "from cbam_search.records.studies import find_study, studies_in\n"
    "parent = Path(sys.argv[1])\n"
    "try: print([folder.path.name for folder in studies_in(parent)])\n"
    "except UserError as error: print(error)\n"
    "try: find_study(sys.argv[2], parent).read_manifest()\n"
    "except UserError as error: print(error)"
)


def _look(parent: Path, run: str) -> list[str]:
    """What an ordinary user is told: of the studies in a folder, and of one of them."""
    command = [*unprivileged(), sys.executable, "-c", LOOK, str(parent), run]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_study_that_may_not_be_looked_into_is_listed_and_named(tmp_path: Path) -> None:
    mine, closed = make_study(tmp_path, "mine", 1.0), make_study(tmp_path, "closed", 2.0)
    (tmp_path / "lost+found").mkdir(mode=0)
    closed.path.chmod(0)
    try:
        listed, problem = _look(tmp_path, "closed")
        assert listed == "['closed', 'mine']"
        assert problem.startswith(f"{closed.path} may not be looked into: Permission denied")
        assert _look(tmp_path, str(mine.path)) == [listed]
    finally:
        closed.path.chmod(0o755)
    mine.manifest.chmod(0)
    assert f"{mine.manifest} may not be read: Permission denied" in _look(tmp_path, "mine")[1]


def test_a_folder_of_studies_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be read: Not a directory" in _look(tmp_path / "file", "any")[0]


@pytest.mark.parametrize("run", ["x" * 5000, "a/" * 3000, "nul\0", "esc\x1b[31m\n", "\u202e", "..", ""])
def test_a_name_that_no_study_can_have_is_not_found(tmp_path: Path, run: str) -> None:
    make_study(tmp_path / "studies", "a", 1.0)
    with pytest.raises(StudyNotFoundError) as caught:
        find_study(run, tmp_path / "studies")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
