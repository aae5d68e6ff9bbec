"""Whose weights stay: all while a study goes on, within a bound; at its end what the front is judged by."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import with_attention
from studies import new_folder
from synthetic_study import backbone, candidate

from cbam_search.architecture import Architecture, CbamSpec, SeSpec, published
from cbam_search.records.events import WeightsRemoved
from cbam_search.records.ledger import read_events
from cbam_search.records.study_records import open_records
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.records.weights import Keep, WeightsKeeper

BASE, OTHER_BASE = backbone(8, 0.5), backbone(14, 0.5)
SIZE = 1000
SITES = len(BASE.geometry().blocks)
KINDS = (None, SeSpec(reduction_ratio=8), SeSpec(reduction_ratio=4), CbamSpec(reduction_ratio=4))


def design(place: int) -> Architecture:
    """The place-th placement on BASE; none of them is a plain design, since the last site has an SE of another ratio."""
    chosen = [KINDS[place // len(KINDS) ** site % len(KINDS)] for site in range(SITES - 1)]
    return with_attention(BASE, [*chosen, SeSpec(reduction_ratio=2)])


class Bench:
    """Records without a search, and the keeper of their weights."""

    def __init__(self, tmp_path: Path, keep: Keep = "front", **bound: float) -> None:
        self.folder = new_folder(tmp_path)
        self.records = open_records(self.folder, None)
        self.keeper = WeightsKeeper(self.records, keep, **bound)

    def start(self, architecture: Architecture, gflops: float = 0.001) -> int:
        """A training with all that it leaves in its folder."""
        storage = self.records.storage
        number = storage.get_trial_number_from_id(storage.create_new_trial(self.records.optuna_study_id))
        trial = self.records.start(number, candidate(architecture, gflops), {})
        self.folder.evaluation(trial.evaluation).mkdir(parents=True)
        self.folder.weights(trial.evaluation).write_bytes(b"w" * SIZE)
        for path in (self.folder.checkpoint(trial.evaluation), self.folder.epochs(trial.evaluation)):
            path.touch()
        return number

    def end(self, number: int, accuracy: float, state: TrialState = TrialState.COMPLETE) -> None:
        gflops = self.records.trials[number].candidate.gflops
        values = {"accuracy": accuracy, "gflops": gflops} if state is TrialState.COMPLETE else None
        self.records.finish(number, Outcome(state=state, metrics={"accuracy": accuracy}, values=values, epochs=2))
        self.keeper.ended(self.records.trials[number])

    def train(self, accuracy: float, gflops: float = 0.001, architecture: Architecture | None = None) -> int:
        number = self.start(architecture or design(len(self.records.trials)), gflops)
        self.end(number, accuracy)
        return number

    @property
    def kept(self) -> set[int]:
        """Trials whose weights are on disk."""
        trials = self.records.trials.values()
        return {trial.number for trial in trials if self.folder.weights(trial.evaluation).exists()}

    @property
    def removed(self) -> list[tuple[int, ...]]:
        """What the ledger tells of."""
        return [event.trials for event, _ in read_events(self.folder.ledger) if isinstance(event, WeightsRemoved)]


def test_designs_here_are_distinct_and_none_is_plain() -> None:
    designs = [design(place) for place in range(12)]
    assert len({each.digest for each in designs}) == 12
    assert not any(each.published_name for each in designs)


def test_while_a_study_goes_on_all_complete_trials_keep_theirs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for accuracy in (0.5, 0.9, 0.8, 0.7):
        bench.train(accuracy)
    assert bench.records.front.numbers == (1,)
    assert bench.kept == {0, 1, 2, 3}
    assert bench.removed == []


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED, TrialState.INFEASIBLE])
@pytest.mark.parametrize("keep", ["front", "all", "none"])
def test_what_is_not_complete_keeps_none(tmp_path: Path, keep: Keep, state: TrialState) -> None:
    bench = Bench(tmp_path, keep)
    bench.end(bench.start(design(0)), 0.9, state)
    assert bench.kept == set()


@pytest.mark.parametrize("keep", ["front", "all", "none"])
def test_checkpoints_and_lists_of_epochs_of_trials_that_ended_go_always(tmp_path: Path, keep: Keep) -> None:
    bench = Bench(tmp_path, keep)
    ended, running = bench.train(0.9), bench.start(design(1))
    bench.keeper.ended(bench.records.trials[running])
    bench.keeper = WeightsKeeper(bench.records, keep)
    bench.keeper.collect()
    bench.keeper.closed()
    for number in (ended, running):
        name = bench.records.trials[number].evaluation
        there = (bench.folder.checkpoint(name).exists(), bench.folder.epochs(name).exists())
        assert there == (number == running, number == running)
    assert running in bench.kept
    assert bench.removed == []


def test_keep_all_knows_no_bound_and_no_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "all", at_most_bytes=SIZE)
    for accuracy in (0.5, 0.9, 0.8):
        bench.train(accuracy)
    bench.keeper.closed()
    assert bench.kept == {0, 1, 2}
    assert bench.removed == []


def test_keep_none_removes_each_as_it_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "none")
    first = bench.train(0.9)
    assert bench.kept == set()
    running = bench.start(published(BASE, None))
    bench.keeper.closed()
    assert bench.kept == {running}
    assert bench.records.front.numbers == (first,)


def test_at_its_end_the_front_and_the_plain_designs_on_its_backbones_keep_theirs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    plain = {bench.train(0.3, 0.005, published(BASE, kind)) for kind in (None, "se", "cbam")}
    elsewhere = {bench.train(0.3, 0.006, published(OTHER_BASE, kind)) for kind in (None, "se", "cbam")}
    cheap, behind, best = bench.train(0.8, 0.0005), bench.train(0.7), bench.train(0.9)
    assert bench.records.front.numbers == (cheap, best)
    assert bench.kept == plain | elsewhere | {cheap, behind, best}
    bench.keeper.closed()
    assert bench.kept == plain | {cheap, best}
    assert bench.removed == []  # that event is for what goes while the study goes on
    bench.keeper.closed()
    assert bench.kept == plain | {cheap, best}


def test_a_plain_design_of_another_kind_or_setting_is_no_plain_design(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    eca = bench.train(0.3, 0.005, published(BASE, "eca"))
    other_ratio = bench.train(0.3, 0.005, with_attention(BASE, [SeSpec(reduction_ratio=2)] * SITES))
    best = bench.train(0.9)
    assert bench.kept == {eca, other_ratio, best}
    bench.keeper.closed()
    assert bench.kept == {best}


def test_a_study_that_goes_on_after_its_end_keeps_again_what_is_trained_then(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    behind, best = bench.train(0.7), bench.train(0.9)
    bench.keeper.closed()
    bench.keeper = WeightsKeeper(bench.records, "front")
    bench.keeper.collect()
    later = bench.train(0.8)
    assert bench.kept == {best, later}
    bench.keeper.closed()
    assert bench.kept == {best}
    assert behind not in bench.kept


def test_beyond_the_bound_the_oldest_far_from_the_front_go_first_then_the_oldest_behind_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, at_most_bytes=5 * SIZE)
    bare = bench.train(0.50, architecture=published(BASE, None))
    behind = [bench.train(0.80)]
    far = [bench.train(0.70, 0.0015)]
    behind.append(bench.train(0.85, 0.0015))
    far.append(bench.train(0.60, 0.0015))
    assert bench.kept == {0, 1, 2, 3, 4}  # at the bound itself nothing goes
    best = bench.train(0.90)
    ranks = bench.records.front.ranks
    assert [[ranks[number] for number in numbers] for numbers in ([best], behind, far, [bare])] == [[0], [1, 1], [2, 3], [2]]
    # One would be enough for the bound; the second makes a little room.
    assert bench.removed == [tuple(far)]
    assert bench.kept == {bare, best, *behind}

    far = [bench.train(0.75), bench.train(0.72, 0.002)]
    assert bench.removed[1:] == [tuple(far)]  # the newest too, if it is far and they are not

    newer = [bench.train(0.82, 0.0012), bench.train(0.83, 0.0013)]
    assert bench.removed[2:] == [tuple(behind)]
    assert bench.kept == {bare, best, *newer}
    assert bench.records.view.weights_removed == {number for numbers in bench.removed for number in numbers}


def test_front_and_plain_designs_stay_even_beyond_the_bound(tmp_path: Path) -> None:
    bench = Bench(tmp_path, at_most_bytes=1)
    plain = {bench.train(0.3, 0.005, published(base, kind)) for base in (BASE, OTHER_BASE) for kind in (None, "se", "cbam")}
    cheap, best = bench.train(0.8, 0.0005), bench.train(0.9)
    assert bench.removed == []
    behind = bench.train(0.7)
    assert bench.kept == plain | {cheap, best}
    assert bench.removed == [(behind,)]


def test_who_has_fallen_behind_the_front_can_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path, at_most_bytes=2 * SIZE)
    first, second, third = (bench.train(accuracy) for accuracy in (0.7, 0.8, 0.9))
    assert bench.kept == {third}
    assert bench.removed == [(first, second)]


def test_a_trial_that_is_looked_at_again_counts_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, at_most_bytes=2 * SIZE)
    first, second = bench.train(0.7), bench.train(0.8)
    for number in (first, second, first):
        bench.keeper.ended(bench.records.trials[number])
    assert bench.kept == {first, second}
    assert bench.removed == []


def test_a_bound_that_was_lowered_holds_from_the_next_session_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    far, behind, best = bench.train(0.7), bench.train(0.8), bench.train(0.9)
    bench.records.close()
    bench.records = open_records(bench.folder, None)
    bench.keeper = WeightsKeeper(bench.records, "front", at_most_bytes=2.5 * SIZE)
    bench.keeper.collect()
    assert bench.kept == {behind, best}
    assert bench.removed == [(far,)]
