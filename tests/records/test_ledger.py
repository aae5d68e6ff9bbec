"""The ledger: order, durability, torn lines, damage."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cbam_search.errors import RecordsError
from cbam_search.records.events import EpochFinished, Event, StudyClosed, StudyOpened
from cbam_search.records.ledger import Ledger, read_events
from cbam_search.records.trials import Outcome, TrialState


def epoch(number: int) -> EpochFinished:
    return EpochFinished(trial=0, attempt=1, epoch=number, metrics={"accuracy": 0.5}, seconds=1.0)


def test_events_come_back_in_order_with_their_offsets(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    events: list[Event] = [StudyOpened(resumed=False), epoch(1), epoch(2)]
    for event in events:
        ledger.append(event)
    read = list(read_events(path))
    assert [event for event, _ in read] == events
    assert [event for event, _ in read_events(path, read[0][1])] == events[1:]
    assert read[-1][1] == path.stat().st_size


def test_numbers_that_are_not_finite_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    metrics = {"accuracy": math.nan, "train_loss": math.inf}
    ledger.append(EpochFinished(trial=0, attempt=1, epoch=1, metrics=metrics, seconds=1.0))
    [(event, _)] = read_events(ledger.path)
    assert isinstance(event, EpochFinished)
    assert math.isnan(event.metrics["accuracy"])
    assert event.metrics["train_loss"] == math.inf


def test_listeners_hear_only_what_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    heard: list[int] = []
    ledger.subscribe(lambda _event: heard.append(len(list(read_events(path)))))
    ledger.append(epoch(1))
    ledger.append(epoch(2))
    assert heard == [1, 2]


@pytest.mark.parametrize("torn", [b'{"event": "epoch_fin', b"x" * 10_000])
def test_a_line_torn_by_a_crash_is_neither_read_nor_kept(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append(epoch(1))
    with path.open("ab") as file:
        file.write(torn)
    assert len(list(read_events(path))) == 1
    ledger = Ledger(path)
    ledger.append(epoch(2))
    assert [event.epoch for event, _ in read_events(path) if isinstance(event, EpochFinished)] == [1, 2]


def test_a_ledger_of_one_torn_line_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"event"')
    Ledger(path).append(epoch(1))
    assert len(list(read_events(path))) == 1


def test_damage_in_the_middle_is_reported_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append(epoch(1))
    with path.open("ab") as file:
        file.write(b'{"event": "nonsense"}\n')
    with pytest.raises(RecordsError, match=r"ledger\.jsonl is damaged before byte"):
        list(read_events(path))


def test_a_missing_ledger_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none")) == []


def test_a_full_disk_is_an_error_of_the_records(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger._file = Path("/dev/full").open("ab")  # noqa: SIM115
    with pytest.raises(RecordsError, match="cannot write"):
        ledger.append(StudyClosed(reason="trials", message=""))


def test_a_reason_holds_no_secret_and_nothing_that_a_terminal_obeys() -> None:
    outcome = Outcome(state=TrialState.FAILED, reason="no answer of postgresql://me:hunter2@host\n\x1b[31mred")
    assert outcome.reason == "no answer of postgresql://me:***@host\n\\x1b[31mred"
    assert StudyClosed(reason="failed", message="password=hunter2 \u202e").message == "password=*** \\u202e"
