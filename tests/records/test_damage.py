"""What messages say of damaged files: what is wrong, and no word of this package's types or of pydantic."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import new_folder

from cbam_search.errors import DamagedFileError, NewerStudyError, RecordsError
from cbam_search.records.damage import damage_in_words
from cbam_search.records.driver import driver_of
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.results import read_result


def test_a_damaged_result_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"state": "complete", "epochs": "many"}')
    with pytest.raises(DamagedFileError) as caught:
        read_result(path)
    assert str(caught.value).startswith(f"{path} is damaged (epochs: Input should be a valid integer")
    assert "\n" not in str(caught.value)
    assert "Outcome" not in str(caught.value)


def test_a_damaged_event_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"event": "trial_finished", "trial": 3}\n')
    with pytest.raises(RecordsError, match=r"line 1 is not an event \(trial_finished\.outcome: Field required\)"):
        list(read_events(path))


def test_a_file_that_cannot_be_read_has_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / "none").read_bytes()
    assert damage_in_words(caught.value) == "No such file or directory"
    assert damage_in_words(ValueError("not JSON")) == "not JSON"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe{", b"[1]", b"[" * 100_000, b'{"schema_version": 1}', b'{"schema_version": 99, "versions": 3}', b""]
)
def test_a_damaged_manifest_is_said_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    folder = StudyFolder(tmp_path)
    folder.manifest.write_bytes(content)
    with pytest.raises(NewerStudyError if b"99" in content else RecordsError) as caught:
        folder.read_manifest()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["study.json", "references.json", "ledger.jsonl", "lease"])
def test_a_folder_in_the_place_of_a_file_and_a_file_in_that_of_a_folder(tmp_path: Path, name: str) -> None:
    folder = new_folder(tmp_path)
    (folder.path / name).unlink(missing_ok=True)
    if name == "lease":
        folder.lease.touch()
    else:
        (folder.path / name).mkdir()
    with pytest.raises(RecordsError, match=f"{name} cannot be read: (Is|Not) a directory"):
        driver_of(folder)
        list(read_events(folder.ledger))
        folder.read_manifest()
