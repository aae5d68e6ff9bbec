"""How studies are named, found and guarded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from studies import manifest_of

from cbam_search.errors import RecordsError, StudyBusyError, StudyNotFoundError, UserError
from cbam_search.records.folder import STUDIES_VARIABLE, StudyFolder, create_study_folder, find_study


def make_study(parent: Path, name: str, created_seconds: float) -> StudyFolder:
    folder = create_study_folder(parent, name)
    folder.write_manifest(manifest_of().model_copy(update={"created_seconds": created_seconds}))
    return folder


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


def test_commands_take_the_name_where_it_is_found_and_the_path_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, "digits", 1.0)
    assert study.run == str(study.path)
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path))
    assert study.run == "digits"
    assert find_study(study.run) == study


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


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    folder = make_study(tmp_path, "digits", 1.0)
    folder.manifest.write_text("{}")
    with pytest.raises(RecordsError, match=r"study\.json cannot be read"):
        folder.read_manifest()


def test_one_driver_a_study_and_a_dead_one_does_not_block(tmp_path: Path) -> None:
    folder = make_study(tmp_path, "digits", 1.0)
    script = (
        "import sys; from pathlib import Path; from cbam_search.records.folder import StudyFolder\n"
        "lock = StudyFolder(Path(sys.argv[1])).lock(); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(StudyBusyError, match="another process"):
        folder.lock()
    other.kill()
    other.wait()
    folder.lock().release()


@pytest.mark.parametrize("run", ["x" * 5_000, "a\x1b[31m\n", "\u202e"])
def test_a_name_that_nobody_can_have_is_refused_on_one_short_line(run: str, tmp_path: Path) -> None:
    with pytest.raises(StudyNotFoundError) as caught:
        find_study(run, tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("name", ["-x", "latest"])
def test_a_folder_that_was_renamed_to_an_option_goes_by_its_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CBAM_SEARCH_STUDIES", raising=False)
    folder = tmp_path / "studies" / name
    folder.mkdir(parents=True)
    assert StudyFolder(folder).run == str(folder)
