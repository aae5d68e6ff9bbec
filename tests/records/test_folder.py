"""What a study goes by, and how it is guarded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from permissions import unprivileged
from studies import make_study

from cbam_search.errors import RecordsError, StudyBusyError
from cbam_search.records.folder import STUDIES_VARIABLE, StudyFolder
from cbam_search.records.studies import find_study


def test_commands_take_the_name_where_it_is_found_and_the_path_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, "digits", 1.0)
    assert study.run == str(study.path)
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path))
    assert study.run == "digits"
    assert find_study(study.run) == study


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


def test_a_file_of_a_study_that_may_not_be_changed_keeps_it_from_being_driven(tmp_path: Path) -> None:
    folder = make_study(tmp_path, "a", 1.0)
    folder.ledger.touch()
    folder.ledger.chmod(0o444)
    code = (
        "import sys; from pathlib import Path; from cbam_search.errors import UserError\n"
        "from cbam_search.records.folder import StudyFolder\n"
        "try: StudyFolder(Path(sys.argv[1])).lock()\n"
        "except UserError as error: print(error)"
    )
    command = [*unprivileged(), sys.executable, "-c", code, str(folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"Permission denied: {folder.ledger}" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["-x", "latest"])
def test_a_folder_that_was_renamed_to_an_option_goes_by_its_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CBAM_SEARCH_STUDIES", raising=False)
    folder = tmp_path / "studies" / name
    folder.mkdir(parents=True)
    assert StudyFolder(folder).run == str(folder)
