"""Studies that share an evaluation cache, without Ray: what is replayed, what is recorded of it, and what a crash leaves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState as OptunaState
from studies import StudyBench, landscape, manifest_of, space_of

from cbam_search.architecture import Architecture, published
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import Device
from cbam_search.cost.latency import LatencySetting, Ratio
from cbam_search.cost.latency_cache import LatencyCache
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.evaluation_cache import EvaluationCache
from cbam_search.records.events import EpochFinished, TrialFinished, TrialStarted
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.results import append_epochs, read_epochs, read_measured, read_result, write_measured, write_result
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.running import conductor
from cbam_search.running.latency_meter import LatencyJob, LatencyMeter
from cbam_search.running.replays import Replays, StudyKeys
from cbam_search.search.config import SearchConfig
from cbam_search.space.space import Space
from cbam_search.training.config import TrainingConfig
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION

SPACE = space_of(kind=["none", "se"], per="network")
SPLIT = ImageSplit(np.zeros((10, 1, 8, 8), np.uint8), np.zeros(10, np.int64))
DATA = ImageData(
    train=SPLIT,
    validation=SPLIT,
    test_count=0,
    class_names=tuple("0123456789"),
    mean=(0.5,),
    std=(0.5,),
    fingerprint="f" * 64,
    storage="memory",
)
RECIPE = TrainingConfig(epochs=2)
KEYS = StudyKeys(RECIPE, 0, DATA, weights={})
EPOCHS = (0.5, 0.75)
"""Share of the final accuracy after each."""


def bench_of(
    tmp_path: Path,
    name: str,
    *,
    trials: int = 8,
    weights_needed: bool = True,
    keys: StudyKeys = KEYS,
    scheduler: Mapping[str, object] | None = None,
    space: Space = SPACE,
) -> StudyBench:
    manifest = manifest_of(trials=trials).model_copy(update={"name": name, "study_id": name * 8})
    folder = StudyFolder(tmp_path / name)
    folder.path.mkdir(parents=True)
    folder.write_manifest(manifest)
    cache = EvaluationCache(tmp_path / "cache")
    replays = Replays(cache, keys, folder, manifest, needed=["weights"] if weights_needed else ())
    config = SearchConfig.model_validate({"trials": trials, "sampler": "random", "scheduler": scheduler or {}})
    return StudyBench(folder, space, config, replays=replays)


def leave_behind(
    folder: StudyFolder, trial: Trial, outcome: Outcome, *, weights: bool = True, latency: bool = False
) -> Outcome:
    """What a worker leaves before it reports."""
    folder.evaluation(trial.evaluation).mkdir(parents=True, exist_ok=True)
    measured = {LATENCY: Measured(value=7.0, standard_error=0.5, n=5)} if latency else {}
    if measured:
        write_measured(folder.measured(trial.evaluation), measured)
    for epoch, share in enumerate(EPOCHS[: outcome.epochs], start=1):
        metrics = {"accuracy": share * (outcome.value("accuracy") or 0.1)}
        append_epochs(folder.epochs(trial.evaluation), [Epoch(epoch, metrics, 0.1 * epoch)])
    if weights and outcome.state is TrialState.COMPLETE:
        folder.weights(trial.evaluation).write_bytes(trial.candidate.digest.encode())
    outcome = outcome.model_copy(update={"metrics": outcome.metrics | measured})
    write_result(folder.result(trial.evaluation), outcome)
    return outcome


def trainer(bench: StudyBench, **left: bool):
    return lambda trial: leave_behind(bench.folder, trial, landscape(trial), **left)


def epochs_of(bench: StudyBench) -> dict[str, list[tuple[int, dict[str, float], float]]]:
    """By digest, since another study's numbers are its own."""
    found: dict[str, list[tuple[int, dict[str, float], float]]] = {}
    for event, _ in read_events(bench.folder.ledger):
        if isinstance(event, EpochFinished):
            digest = bench.records.trials[event.trial].candidate.digest
            found.setdefault(digest, []).append((event.epoch, event.metrics, event.seconds))
    return found


def no_worker(trial: Trial) -> Outcome:
    pytest.fail(f"trial {trial.number} was handed to a worker")


def test_a_second_study_trains_nothing_and_has_the_same_front(tmp_path: Path) -> None:
    first = bench_of(tmp_path, "one")
    assert len(first.run(trainer(first))) == 8
    second = bench_of(tmp_path, "two")
    assert second.run(no_worker) == []
    trials = {trial.candidate.digest: trial for trial in second.records.trials.values() if trial.was_trained}
    assert second.records.started == len(trials) == 8
    for trial in (trial for trial in first.records.trials.values() if trial.was_trained):
        again = trials[trial.candidate.digest]
        assert again.state is TrialState.COMPLETE
        assert again.values == trial.values
        assert (again.outcome.epochs, again.outcome.seconds) == (trial.outcome.epochs, trial.outcome.seconds)
        assert (again.replayed_from.study, again.replayed_from.trial) == ("one", trial.number)
    assert second.records.front.hypervolume == first.records.front.hypervolume
    assert {trial.candidate.digest for trial in second.records.front.members} == {
        trial.candidate.digest for trial in first.records.front.members
    }


def test_every_epoch_is_in_the_ledger_marked_and_optuna_is_told_the_values(tmp_path: Path) -> None:
    first = bench_of(tmp_path, "one")
    first.run(trainer(first))
    second = bench_of(tmp_path, "two")
    second.run(no_worker)
    left = {
        trial.candidate.digest: [
            (epoch, {"accuracy": share * trial.values["accuracy"]}, 0.1 * epoch) for epoch, share in enumerate(EPOCHS, start=1)
        ]
        for trial in first.records.trials.values()
        if trial.was_trained
    }
    assert epochs_of(second) == left
    events = [event for event, _ in read_events(second.folder.ledger)]
    assert all(event.replayed for event in events if isinstance(event, EpochFinished))
    assert not any(event.replayed for event, _ in read_events(first.folder.ledger) if isinstance(event, EpochFinished))
    ended = [event for event in events if isinstance(event, TrialFinished)]
    assert len(ended) == len([event for event in events if isinstance(event, TrialStarted)]) == 8
    told = {trial.number: trial for trial in second.records.storage.get_all_trials(second.records.optuna_study_id)}
    for event in ended:
        assert told[event.trial].state is OptunaState.COMPLETE
        assert told[event.trial].values == [event.outcome.values[name] for name in ("accuracy", "gflops")]


def test_the_front_and_plain_designs_on_its_backbones_have_their_weights_and_the_others_do_not(tmp_path: Path) -> None:
    space = space_of(kind=["none", "se"], per="stage")
    first = bench_of(tmp_path, "one", trials=20, space=space)
    first.run(trainer(first))
    second = bench_of(tmp_path, "two", trials=20, space=space)
    second.run(no_worker)
    second.conductor.weights.closed()
    front = second.records.front.members
    plain = {published(trial.candidate.architecture.backbone, kind).digest for trial in front for kind in (None, "se", "cbam")}
    trials = {trial.evaluation: trial for trial in second.records.trials.values() if trial.was_trained}
    compared_with = {name for name, trial in trials.items() if trial.candidate.digest in plain}
    kept = {path.parent.name for path in second.folder.evaluations.glob("*/weights.safetensors")}
    assert kept == {trial.evaluation for trial in front} | compared_with
    assert kept < set(trials)
    for name in kept:
        assert second.folder.weights(name).read_bytes() == trials[name].candidate.digest.encode()
    assert not list(second.folder.evaluations.glob("*/epochs.jsonl"))


@pytest.mark.parametrize("weights_needed", [True, False])
def test_a_training_whose_weights_are_gone_is_replayed_only_where_none_are_kept(tmp_path: Path, weights_needed: bool) -> None:
    first = bench_of(tmp_path, "one")
    first.run(trainer(first, weights=False))
    second = bench_of(tmp_path, "two", weights_needed=weights_needed)
    assert len(second.run(trainer(second))) == (8 if weights_needed else 0)
    third = bench_of(tmp_path, "tri")
    assert len(third.run(trainer(third))) == (0 if weights_needed else 8)


def test_diverged_trainings_are_replayed_and_no_other_ends(tmp_path: Path) -> None:
    ends = [TrialState.DIVERGED, TrialState.STOPPED, TrialState.FAILED, TrialState.INFEASIBLE]

    def end(bench: StudyBench, trial: Trial, state: TrialState) -> Outcome:
        epochs = 0 if state in (TrialState.FAILED, TrialState.INFEASIBLE) else 1
        return leave_behind(bench.folder, trial, Outcome(state=state, reason=f"{trial.number}", epochs=epochs))

    first = bench_of(tmp_path, "one", trials=4)
    first.run(lambda trial: end(first, trial, ends[first.records.started - 1]), workers=1)
    by_digest = {trial.candidate.digest: trial for trial in first.records.trials.values() if trial.was_trained}
    second = bench_of(tmp_path, "two", trials=8)
    trained = second.run(trainer(second), workers=1)
    assert len(trained) == 7
    [replayed] = [trial for trial in second.records.trials.values() if trial.replayed_from]
    assert replayed.state is TrialState.DIVERGED
    assert by_digest[replayed.candidate.digest].state is TrialState.DIVERGED
    assert replayed.outcome.reason == by_digest[replayed.candidate.digest].outcome.reason


def test_a_training_with_epochs_missing_is_not_kept(tmp_path: Path) -> None:
    first = bench_of(tmp_path, "one")
    first.run(landscape)
    assert not list((tmp_path / "cache").glob("*.json"))


def test_a_crash_between_cache_and_record_keeps_both_right(tmp_path: Path) -> None:
    first = bench_of(tmp_path, "one", trials=3)
    trial = first.conductor.next()
    outcome = leave_behind(first.folder, trial, landscape(trial))
    first.replays.keep(trial, outcome)
    first.restart()
    assert first.records.trials[trial.number].state is TrialState.COMPLETE
    assert first.records.trials[trial.number].replayed_from is None
    [entry] = (tmp_path / "cache").glob("*.json")
    assert trial.number not in {other.number for other in first.run(trainer(first))}
    assert entry.exists()
    assert len(list((tmp_path / "cache").glob("*.json"))) == 3


def test_a_crash_in_the_middle_of_a_replay_trains_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench_of(tmp_path, "one")
    first.run(trainer(first))
    for place in ("keep", "replay"):
        second = bench_of(tmp_path, f"two-{place}")
        with monkeypatch.context() as patch:

            def crash(*_: object, place: str = place) -> Outcome:
                raise KeyboardInterrupt(place)

            patch.setattr(Replays, place, crash)
            with pytest.raises(KeyboardInterrupt):
                second.conductor.next()
        [cut_off] = [trial for trial in second.records.trials.values() if trial.state is TrialState.RUNNING]
        second.restart()
        assert second.run(no_worker) == []
        assert second.records.trials[cut_off.number].state is TrialState.COMPLETE
        assert second.records.trials[cut_off.number].replayed_from.study == "one"
        assert second.records.started == 8


def test_a_replay_cut_off_before_its_result_is_neither_stopped_nor_taken_for_this_studys_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench_of(tmp_path, "one")
    first.run(trainer(first))
    scheduler = {"kind": "pareto_asha", "grace_period": 1, "reduction_factor": 2}

    calls = itertools.count()

    def cut_off_at_first(path: Path, outcome: Outcome) -> None:
        if next(calls) % 2 == 0:
            raise KeyboardInterrupt
        write_result(path, outcome)

    monkeypatch.setattr("cbam_search.running.replays.write_result", cut_off_at_first)
    second = bench_of(tmp_path, "two", scheduler=scheduler)
    while second.conductor.exhausted is None:
        try:
            assert second.conductor.next() is None
        except KeyboardInterrupt:
            second.restart()
    trained = [trial for trial in second.records.trials.values() if trial.was_trained]
    assert [trial.state for trial in trained] == [TrialState.COMPLETE] * 8
    epochs = [event for event, _ in read_events(second.folder.ledger) if isinstance(event, EpochFinished)]
    assert len(epochs) == 2 * 8
    assert all(event.replayed for event in epochs)


def test_between_replays_the_caller_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench_of(tmp_path, "one", trials=3)
    first.run(trainer(first))
    monkeypatch.setattr(conductor, "REPLAYING_SECONDS_A_CALL", -1.0)
    second = bench_of(tmp_path, "two", trials=3)
    for replayed in (1, 2, 3):
        assert second.conductor.next() is None
        assert second.conductor.exhausted is None
        assert second.records.started == replayed
    assert second.conductor.next() is None
    assert second.conductor.exhausted is not None


def test_a_training_that_stands_at_a_checkpoint_goes_on(tmp_path: Path) -> None:
    first, second = bench_of(tmp_path, "one", trials=1), bench_of(tmp_path, "two", trials=1)
    trial = second.conductor.next()  # before the other has finished
    second.folder.evaluation(trial.evaluation).mkdir(parents=True)
    second.folder.checkpoint(trial.evaluation).touch()
    first.run(trainer(first))
    second.restart()
    assert [again.number for again in second.run(trainer(second))] == [trial.number]
    assert second.records.trials[trial.number].replayed_from is None


def test_a_damaged_entry_is_trained_again_and_mended(tmp_path: Path) -> None:
    first = bench_of(tmp_path, "one")
    first.run(trainer(first))
    damaged = min((tmp_path / "cache").glob("*.json"))
    damaged.write_text("{")
    second = bench_of(tmp_path, "two")
    assert len(second.run(trainer(second))) == 1
    assert [str(damaged) in problem for problem in second.replays.cache.problems] == [True]
    third = bench_of(tmp_path, "tri")
    assert third.run(no_worker) == []
    assert sorted({trial.replayed_from.study for trial in third.records.trials.values() if trial.replayed_from}) == [
        "one",
        "two",
    ]


@pytest.mark.parametrize(
    "keys",
    [
        StudyKeys(RECIPE.model_copy(update={"augment": ("flip",)}), 0, DATA, weights={}),
        StudyKeys(RECIPE.model_copy(update={"epochs": 3}), 0, DATA, weights={}),
        StudyKeys(RECIPE.model_copy(update={"mixed_precision": "off"}), 0, DATA, weights={}),
        StudyKeys(RECIPE, 1, DATA, weights={}),
        StudyKeys(RECIPE, 0, replace(DATA, fingerprint="e" * 64), weights={}),
        StudyKeys(RECIPE, 0, replace(DATA, mean=(0.4,)), weights={}),
        StudyKeys(RECIPE, 0, DATA, weights=dict.fromkeys(SPACE.backbones, "9" * 64)),
        StudyKeys(RECIPE, 0, DATA, weights={}, device="NVIDIA H100 80GB HBM3"),
    ],
)
def test_another_training_is_no_replay(tmp_path: Path, keys: StudyKeys) -> None:
    first = bench_of(tmp_path, "one", trials=2)
    first.run(trainer(first))
    second = bench_of(tmp_path, "two", trials=2, keys=keys)
    assert len(second.run(trainer(second))) == 2


def test_keys_see_versions_code_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    bare, se = (published(SPACE.backbones[0], kind) for kind in (None, "se"))
    assert KEYS.of(bare).digest != KEYS.of(se).digest
    assert KEYS.of(bare) == StudyKeys(RECIPE, 0, DATA, weights={}).of(bare)
    assert set(KEYS.of(bare).versions) == {"torch"}
    assert KEYS.of(bare).numerics_version == NUMERICS_VERSION
    monkeypatch.setattr("cbam_search.running.replays.version", lambda name: "0")
    assert StudyKeys(RECIPE, 0, DATA, weights={}).of(bare).digest != KEYS.of(bare).digest
    monkeypatch.undo()
    monkeypatch.setattr("cbam_search.running.replays.outside_source", lambda: "other")
    assert StudyKeys(RECIPE, 0, DATA, weights={}).of(bare).digest != KEYS.of(bare).digest


def test_no_architecture_is_in_flight_twice(tmp_path: Path) -> None:
    """More workers than the space has architectures: duplicates of what runs are dropped, never handed out."""
    bench = StudyBench(
        StudyFolder(_folder(tmp_path)), SPACE, SearchConfig.model_validate({"trials": 20, "sampler": "tpe"}), seed=3
    )
    in_flight: list[str] = []
    while (trial := next_of(bench)) is not None:
        assert trial.candidate.digest not in in_flight
        in_flight.append(trial.candidate.digest)
    assert len(in_flight) == SPACE.count()
    bench.restart()
    again = [next_of(bench) for _ in in_flight]
    assert [trial.candidate.digest for trial in again] == in_flight
    assert next_of(bench) is None


def next_of(bench: StudyBench) -> Trial | None:
    """As a driver does: ask again when there is none for the moment."""
    while (trial := bench.conductor.next()) is None and not bench.conductor.ended:
        continue
    return trial


def _folder(tmp_path: Path) -> Path:
    path = tmp_path / "study"
    path.mkdir()
    StudyFolder(path).write_manifest(manifest_of(trials=20))
    return path


class TestLatency:
    """A latency is of this study's own device."""

    JOB = LatencyJob(LatencyConfig(device="cpu", pairs=5), Device("cpu", "some processor"), at_most=20.0)

    def replays(self, tmp_path: Path, name: str) -> tuple[Replays, LatencyCache, LatencySetting]:
        manifest = manifest_of().model_copy(update={"name": name})
        known = LatencyCache(tmp_path / "latencies")
        folder = StudyFolder(tmp_path / name)
        unit = LatencyCache(folder.latency)
        meter = LatencyMeter(self.JOB, unit, channels=1, image_size=(8, 8), threads=1, on_gpu=False, cache=known)
        setting = LatencySetting.of(self.JOB.config, self.JOB.device, channels=1, image_size=(8, 8), threads=1)
        cache = EvaluationCache(tmp_path / "cache")
        return Replays(cache, KEYS, folder, manifest, meter=meter), known, setting

    def test_a_replay_takes_the_figure_of_this_setting_and_never_that_of_the_other_study(self, tmp_path: Path) -> None:
        trial = _trial(published(SPACE.backbones[0], "se"))
        first, _, _ = self.replays(tmp_path, "one")
        first.keep(trial, leave_behind(StudyFolder(tmp_path / "one"), trial, landscape(trial), latency=True))
        second, known, setting = self.replays(tmp_path, "two")
        assert second.replay(trial) is None  # never measured here: a worker must
        known.keep_ratio(setting, trial.candidate.digest, Ratio(1.5, 0.1))
        assert second.replay(trial) is None  # nor is it known what the unit is
        known.keep_nominal_ms(setting, 2.0)
        outcome = second.replay(trial)
        assert outcome is not None
        assert outcome.metrics[LATENCY] == Measured(value=3.0, standard_error=0.2, n=5)
        folder = StudyFolder(tmp_path / "two")
        assert read_result(folder.result(trial.evaluation)) == outcome
        assert read_measured(folder.measured(trial.evaluation)) == {LATENCY: outcome.metrics[LATENCY]}
        epochs = read_epochs(folder.epochs(trial.evaluation))
        assert [(epoch.epoch, set(epoch.metrics)) for epoch in epochs] == [(1, {"accuracy"}), (2, {"accuracy"})]

    def test_what_is_known_to_be_too_slow_goes_to_a_worker_who_says_so(self, tmp_path: Path) -> None:
        trial = _trial(published(SPACE.backbones[0], "se"))
        replays, known, setting = self.replays(tmp_path, "one")
        replays.keep(trial, leave_behind(StudyFolder(tmp_path / "one"), trial, landscape(trial)))
        known.keep_ratio(setting, trial.candidate.digest, Ratio(15.0, 0.1))
        known.keep_nominal_ms(setting, 2.0)
        assert replays.replay(trial) is None


def _trial(architecture: Architecture) -> Trial:
    from synthetic_study import candidate

    return Trial(4, candidate(architecture))
