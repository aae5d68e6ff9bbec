"""The inbox: who may hand something over, and what is on disk when a call has returned or its caller has died."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cbam_search.errors import ClaimLostError, HandoverError, LeaseLostError
from cbam_search.metrics import Measured
from cbam_search.records.folder import StudyFolder
from cbam_search.records.inbox import EvaluationEnd, Inbox
from cbam_search.records.results import read_epochs, read_result
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running import delivery
from cbam_search.running.delivery import Delivery
from cbam_search.training.epoch import Epoch

COMPLETE = Outcome(state=TrialState.COMPLETE, metrics={"accuracy": Measured(value=0.5)}, epochs=2)
LATENCY = {"latency_ms": Measured(value=2.5)}


def epoch(number: int) -> Epoch:
    return Epoch(number, {"accuracy": 0.1 * number}, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


@pytest.fixture
def inbox(folder: StudyFolder) -> Inbox:
    return Inbox(folder)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(delivery, "PIECE_BYTES", 10)
    return 10


WRITING: dict[str, Any] = {
    "checkpoint_piece": (0, 10),
    "set_checkpoint_aside": (),
    "measured": (LATENCY,),
    "piece": ("checkpoint", 0, b"new"),
    "checkpoint": ([epoch(1)],),
    "finish": (EvaluationEnd(COMPLETE, [epoch(1)]),),
}
"""Calls of a worker that has the claim, with what follows the claim."""


def content_of(folder: StudyFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.evaluation("0").glob("*") if path.is_file()}


@pytest.mark.parametrize("call", WRITING)
@pytest.mark.parametrize("ended_by", ["another worker", "the driver"])
def test_a_worker_that_lost_its_claim_is_refused_and_changes_nothing(folder: StudyFolder, call: str, ended_by: str) -> None:
    inbox = Inbox(folder)
    old = Delivery(inbox, "0")
    old.save_checkpoint(b"kept")
    if ended_by == "the driver":
        inbox.revoke("0")
    else:
        inbox.begin("0")
    before = content_of(folder)
    with pytest.raises(ClaimLostError, match="evaluation 0 has ended, or another worker goes on with it"):
        getattr(inbox, call)("0", old.known.claim, *WRITING[call])
    assert content_of(folder) == before


def test_claims_of_other_evaluations_stay(inbox: Inbox) -> None:
    first = Delivery(inbox, "0")
    inbox.begin("1")
    inbox.revoke("2")
    first.save_checkpoint(b"kept")


def test_claims_grow_also_where_the_clock_goes_back(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inbox.begin("0").claim
    monkeypatch.setattr("time.time_ns", lambda: 1)
    now = inbox.begin("0").claim
    assert now > before
    inbox.measured("0", now, LATENCY)


def test_after_a_restart_the_newest_claim_holds_and_older_ones_do_not(folder: StudyFolder) -> None:
    before = Inbox(folder)
    old, new = before.begin("0").claim, before.begin("0").claim
    restarted = Inbox(folder)
    with pytest.raises(ClaimLostError):
        restarted.measured("0", old, LATENCY)
    restarted.measured("0", new, LATENCY)


def test_after_a_restart_a_revoked_claim_stays_revoked(folder: StudyFolder) -> None:
    before = Inbox(folder)
    claim = before.begin("0").claim
    before.revoke("0")
    with pytest.raises(ClaimLostError):
        Inbox(folder).finish("0", claim, EvaluationEnd(COMPLETE))
    assert not folder.result("0").exists()


def test_who_takes_an_evaluation_up_learns_what_the_driver_has_of_it(inbox: Inbox, folder: StudyFolder) -> None:
    known = inbox.begin("0")
    assert (known.outcome, known.measured, known.checkpoint_bytes) == (None, None, 0)
    first = Delivery(inbox, "0")
    first.measured(LATENCY)
    first.save_checkpoint(b"twelve bytes")
    known = inbox.begin("0")
    assert (known.outcome, known.measured, known.checkpoint_bytes) == (None, LATENCY, 12)
    Delivery(inbox, "0").finish(COMPLETE, {})
    assert inbox.begin("0").outcome == COMPLETE


def test_a_damaged_result_is_put_aside_and_counts_as_none(inbox: Inbox, folder: StudyFolder) -> None:
    Delivery(inbox, "0").finish(COMPLETE, {})
    folder.result("0").write_text("{")
    assert inbox.begin("0").outcome is None
    assert folder.result("0").with_name("result.json.damaged").exists()


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 47])
def test_files_larger_than_a_piece_arrive_whole_both_ways(
    inbox: Inbox, folder: StudyFolder, small_pieces: int, size: int
) -> None:
    content, weights = bytes(range(size)), bytes(reversed(range(size)))
    Delivery(inbox, "0").save_checkpoint(content)
    assert folder.checkpoint("0").read_bytes() == content
    again = Delivery(inbox, "0")
    assert again.checkpoint() == content
    again.finish(COMPLETE, {"weights": weights, "predictions": content})
    assert folder.weights("0").read_bytes() == weights
    assert folder.predictions("0").read_bytes() == content


def test_a_shorter_checkpoint_leaves_nothing_of_a_longer_one(inbox: Inbox, folder: StudyFolder, small_pieces: int) -> None:
    worker = Delivery(inbox, "0")
    worker.save_checkpoint(b"x" * 35)
    worker.save_checkpoint(b"y" * 12)
    assert folder.checkpoint("0").read_bytes() == b"y" * 12


def test_a_worker_that_dies_between_pieces_leaves_the_old_checkpoint(
    inbox: Inbox, folder: StudyFolder, small_pieces: int
) -> None:
    worker = Delivery(inbox, "0")
    worker.epoch(epoch(1))
    worker.save_checkpoint(b"old")
    for offset in (0, 10, 20):
        inbox.piece("0", worker.known.claim, "checkpoint", offset, b"n" * 10)
    another = Delivery(inbox, "0")
    assert another.checkpoint() == b"old"
    assert [found.epoch for found in read_epochs(folder.epochs("0"))] == [1]
    another.save_checkpoint(b"n")
    assert folder.checkpoint("0").read_bytes() == b"n", "pieces of the dead worker are in it"


def test_epochs_come_with_the_checkpoint_after_them_each_once(inbox: Inbox, folder: StudyFolder) -> None:
    worker = Delivery(inbox, "0")
    for number in (1, 2):
        worker.epoch(epoch(number))
    assert read_epochs(folder.epochs("0")) == []
    worker.save_checkpoint(b"after 2")
    worker.epoch(epoch(3))
    worker.finish(COMPLETE, {})
    assert read_epochs(folder.epochs("0")) == [epoch(1), epoch(2), epoch(3)]


def test_an_epoch_after_a_torn_line_is_not_lost(inbox: Inbox, folder: StudyFolder) -> None:
    worker = Delivery(inbox, "0")
    worker.epoch(epoch(1))
    worker.save_checkpoint(b"after 1")
    with folder.epochs("0").open("ab") as file:
        file.write(b'{"epoch": 2, "met')
    another = Delivery(inbox, "0")
    another.epoch(epoch(2))
    another.save_checkpoint(b"after 2")
    assert read_epochs(folder.epochs("0")) == [epoch(1), epoch(2)]


def test_the_outcome_is_written_last(inbox: Inbox, folder: StudyFolder) -> None:
    """Were it there without the weights, they would be missed for good: nobody trains again."""
    folder.weights("0").mkdir(parents=True)  # so that the weights cannot be put in their place
    worker = Delivery(inbox, "0")
    worker.epoch(epoch(1))
    with pytest.raises(HandoverError):
        worker.finish(COMPLETE, {"weights": b"w"}, "Traceback ...")
    assert not folder.result("0").exists()
    folder.weights("0").rmdir()
    again = Delivery(inbox, "0")
    again.finish(COMPLETE, {"weights": b"w"}, "Traceback ...")
    assert folder.weights("0").read_bytes() == b"w"
    assert folder.error("0").read_text() == "Traceback ..."
    assert read_result(folder.result("0")) == COMPLETE


def test_calls_may_be_made_again(inbox: Inbox, folder: StudyFolder) -> None:
    """As Ray does where the inbox's process died before it answered."""
    claim = inbox.begin("0").claim
    for _ in range(2):
        inbox.measured("0", claim, LATENCY)
    for offset, content in ((0, b"abc"), (0, b"abc"), (3, b"def"), (3, b"def")):
        inbox.piece("0", claim, "checkpoint", offset, content)
    for _ in range(2):
        inbox.checkpoint("0", claim, [epoch(1)])
    assert folder.checkpoint("0").read_bytes() == b"abcdef"
    for _ in range(2):
        inbox.set_checkpoint_aside("0", claim)
    assert folder.checkpoint("0").with_name("checkpoint.safetensors.damaged").read_bytes() == b"abcdef"
    inbox.piece("0", claim, "weights", 0, b"w")
    for _ in range(2):
        inbox.finish("0", claim, EvaluationEnd(COMPLETE, [epoch(2)], ("weights",)))
    assert folder.weights("0").read_bytes() == b"w"
    assert read_result(folder.result("0")) == COMPLETE
    assert {found.epoch for found in read_epochs(folder.epochs("0"))} == {1, 2}


@pytest.mark.parametrize("call", ["begin", "revoke", *WRITING])
def test_nothing_is_written_once_another_driver_has_taken_over(folder: StudyFolder, call: str) -> None:
    lost = False

    def check() -> None:
        if lost:
            raise LeaseLostError("another driver has taken over")

    inbox = Inbox(folder, check)
    worker = Delivery(inbox, "0")
    worker.save_checkpoint(b"kept")
    before, lost = content_of(folder), True
    arguments = ("0", worker.known.claim, *WRITING[call]) if call in WRITING else ("0",)
    with pytest.raises(LeaseLostError):
        getattr(inbox, call)(*arguments)
    assert content_of(folder) == before


def test_what_the_disk_says_becomes_a_sentence(folder: StudyFolder) -> None:
    folder.path.joinpath("evaluations").write_text("a file where a folder is to be")
    inbox = Inbox(folder)
    with pytest.raises(HandoverError, match="the study's folder cannot be read or written: Not a directory"):
        inbox.begin("0")


def test_a_full_disk_is_a_handover_error(inbox: Inbox, folder: StudyFolder) -> None:
    claim = inbox.begin("0").claim
    folder.epochs("0").symlink_to("/dev/full")
    with pytest.raises(HandoverError, match="No space left on device"):
        inbox.checkpoint("0", claim, [epoch(1)])
