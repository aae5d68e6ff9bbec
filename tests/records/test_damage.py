"""What messages say of damaged files: what is wrong, and no word of this package's types or of pydantic."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.errors import DamagedFileError, RecordsError
from cbam_search.records.damage import reason
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
    assert reason(caught.value) == "No such file or directory"
    assert reason(ValueError("not JSON")) == "not JSON"
