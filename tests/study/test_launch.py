"""Whole studies from Python, on one Ray instance: what is found, what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import ray
import yaml

import cbam_search
from cbam_search.errors import (
    CodeNotAllowedError,
    ConfigError,
    DataError,
    ExportError,
    RecordsError,
    ResourceError,
    SpaceError,
    StudyBusyError,
    UserError,
)
from cbam_search.records.events import EpochFinished, Event, StudyClosed
from cbam_search.records.ledger import read_events
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import TrialState
from cbam_search.running.cluster import TrialResources
from cbam_search.search.reference import BEYOND_THE_WORST
from cbam_search.study.config import read_study_config
from cbam_search.study.preparation import prepare
from cbam_search.study.screen import Silence
from cbam_search.study.study import Study

TINY = {
    "name": "tiny",
    "dataset": {"source": "digits", "limit": 400},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": [0.25, 0.5]},
    "attention": {"per": "network"},
    "training": {"epochs": 2, "lr": 0.2, "warmup_epochs": 0},
    "search": {"trials": 5, "published_backbones": 1},
    "tracking": {"mlflow": False},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


def _keeping(study: Study) -> set[int]:
    """The front, and the bare, SE and CBAM networks on its backbones."""
    backbones = {trial.candidate.architecture.backbone.name for trial in study.front.members}
    plain = {f"{name}{kind}" for name in backbones for kind in ("", "+se", "+cbam")}
    return {number for number, trial in study.trials.items() if trial.was_trained and trial.candidate.label in plain} | set(
        study.front.numbers
    )


def _workers() -> list[str]:
    """Every actor that ever trained on this Ray."""
    return [key for key, actor in ray._private.state.actors().items() if "CandidateTrainable" in actor["ActorClassName"]]


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
class TestOnRay:
    def test_a_study_has_a_front_and_its_records_tell_the_same(self, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path))
        trained = [trial for trial in study.trials.values() if trial.was_trained]
        assert len(trained) == 5
        assert all(trial.state is TrialState.COMPLETE for trial in trained)
        assert [trial.candidate.label for trial in trained[:3]] == list(study.manifest.published)
        assert study.front.members
        assert study.front.hypervolume > 0
        assert cbam_search.open_study("tiny").trials == study.trials
        assert cbam_search.open_study() == cbam_search.open_study(study.folder.path)
        events = [event for event, _ in read_events(study.folder.ledger)]
        epochs = {(event.trial, event.epoch) for event in events if isinstance(event, EpochFinished)}
        assert epochs == {(trial.number, epoch) for trial in trained for epoch in (1, 2)}
        assert isinstance(events[-1], StudyClosed)
        kept = {path.parent.name for path in study.folder.evaluations.glob("*/weights.safetensors")}
        assert kept == {study.trials[number].evaluation for number in _keeping(study)}
        assert yaml.safe_load(study.folder.given_yaml.read_text())["name"] == "tiny"
        assert yaml.safe_load(study.folder.resolved_yaml.read_text())["training"]["batch_size"] == 128

    def test_another_launch_of_the_same_name_gets_its_own_folder_and_equal_results(self, tmp_path: Path) -> None:
        path = write(tmp_path, search={"trials": 3, "published_backbones": 1})
        first, second = cbam_search.launch(path), cbam_search.launch(path)
        assert (first.name, second.name) == ("tiny", "tiny-2")
        assert {n: t.values for n, t in first.trials.items()} == {n: t.values for n, t in second.trials.items()}

    def test_trials_are_stopped_early_on_warm_workers_and_a_budget_of_epochs_ends_it(self, tmp_path: Path) -> None:
        before = len(_workers())
        search = {
            "trials": 40,
            "published_backbones": 1,
            "baselines": ["none"],
            "scheduler": {"kind": "pareto_asha", "grace_period": 1, "reduction_factor": 2},
            "stop": {"epochs": 40},
        }
        attention = {"per": "stage", "reduction_ratio": [2, 4]}
        training = TINY["training"] | {"epochs": 4}
        study = cbam_search.launch(write(tmp_path, search=search, attention=attention, training=training))
        trained = [trial for trial in study.trials.values() if trial.was_trained]
        stopped = [trial for trial in trained if trial.state is TrialState.STOPPED]
        assert stopped
        assert {trial.state for trial in trained} == {TrialState.COMPLETE, TrialState.STOPPED}
        assert {trial.outcome.epochs for trial in stopped} <= {1, 2}
        assert {trial.outcome.epochs for trial in trained if trial.state is TrialState.COMPLETE} == {4}
        assert all(number not in study.front.ranks for number in (trial.number for trial in stopped))
        assert len(_workers()) - before <= 2, "a stopped trial cost its worker"
        events = [event for event, _ in read_events(study.folder.ledger)]
        epochs = [(event.trial, event.epoch) for event in events if isinstance(event, EpochFinished)]
        assert len(epochs) == len(set(epochs)) == sum(trial.outcome.epochs for trial in trained)
        assert 40 <= len(epochs) < 40 + 2 * 4
        closed = events[-1]
        assert isinstance(closed, StudyClosed)
        assert closed.reason == "epochs"
        assert f"{len(trained)} of at most 40 trainings" in closed.message
        assert cbam_search.resume(study.name).trials == study.trials

    def test_a_memory_mapped_data_set_travels_by_path(self, tmp_path: Path) -> None:
        dataset = {"source": "digits", "limit": 400, "memory_limit_gib": 1e-9, "cache_folder": "cache"}
        study = cbam_search.launch(write(tmp_path, dataset=dataset, search={"trials": 3, "published_backbones": 1}))
        assert study.manifest.data.storage == "memory_mapped"
        assert len(study.front.ranks) == 3

    def test_a_finished_study_resumed_trains_nothing(self, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path, search={"trials": 3, "published_backbones": 1}))
        assert cbam_search.resume("tiny").trials == study.trials

    def test_changed_data_are_not_resumed_on(self, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path, search={"trials": 3, "published_backbones": 1}))
        text = study.folder.given_yaml.read_text()
        study.folder.given_yaml.write_text(text.replace("limit: 400", "limit: 300"))
        with pytest.raises(UserError, match="data of study tiny have changed"):
            cbam_search.resume("tiny")

    def test_edited_settings_are_not_resumed_on(self, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path, search={"trials": 3, "published_backbones": 1}))
        text = study.folder.given_yaml.read_text()
        edited = text.replace("lr: 0.2", "lr: 0.3").replace("trials: 3", "trials: 4\n  baselines: [none, se]")
        study.folder.given_yaml.write_text(edited)
        with pytest.raises(UserError, match=r"edited since the study began: training\.lr, search\.baselines\. A study keeps"):
            cbam_search.resume("tiny")

    def test_a_study_that_another_process_drives_is_left_alone(self, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path, search={"trials": 3, "published_backbones": 1}))
        lock = study.folder.lock()
        with pytest.raises(StudyBusyError):
            cbam_search.resume("tiny")
        lock.release()

    def test_a_folder_that_cannot_be_written_ends_the_study_and_no_trial(self, tmp_path: Path) -> None:
        class NowhereToWrite(Silence):
            def display(
                self, records: StudyRecords, resources: TrialResources
            ) -> AbstractContextManager[Callable[[Event], None]]:
                # A folder where nobody can write, not even root.
                records.folder.evaluations.symlink_to("/proc")
                return super().display(records, resources)

        with pytest.raises(RecordsError, match="the study's folder cannot be read or written: No such file or directory"):
            cbam_search.launch(write(tmp_path), screen=NowhereToWrite())
        assert {trial.state for trial in cbam_search.open_study("tiny").trials.values()} == {TrialState.RUNNING}
        closed = [event for event, _ in read_events(tmp_path / "studies" / "tiny" / "ledger.jsonl")][-1]
        assert isinstance(closed, StudyClosed)
        assert closed.reason == "failed"

    def test_more_than_ray_has_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(ResourceError, match="one trial asks for 64 CPUs"):
            cbam_search.launch(write(tmp_path, resources={"cpus_per_trial": 64}))
        assert not (tmp_path / "studies").exists()

    def test_the_best_is_exported_and_what_was_not_kept_is_said(self, tmp_path: Path) -> None:
        search = {"trials": 10, "published_backbones": 1}
        study = cbam_search.launch(write(tmp_path, attention={"per": "stage"}, search=search))
        assert study.pick("best-accuracy").values["accuracy"] == max(t.values["accuracy"] for t in study.front.members)
        assert study.pick("knee") in study.front.members
        assert (study.export(tmp_path / "best") / "model.py").is_file()
        dropped = next(trial for number, trial in study.trials.items() if trial.was_trained and number not in _keeping(study))
        with pytest.raises(ExportError, match="were not kept"):
            study.export(tmp_path / "other", pick=str(dropped.number))
        with pytest.raises(ExportError, match="Allowed: knee"):
            study.pick("nicest")
        with pytest.raises(ExportError, match="has no trial 999"):
            study.pick("999")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"backbone": {"family": "cifar_resnet", "depth": 9}}, ConfigError, "no depth 9"),
        ({"dataset": {"source": "function", "function": "a.b:c"}}, CodeNotAllowedError, "--allow-code"),
        ({"dataset": {"source": "parquet", "train": "none.parquet"}}, DataError, "none.parquet"),
        ({"search": {"trials": 2}}, ConfigError, "fewer than the 3 baselines"),
        ({"search": {"trials": 5, "published_backbones": 2}}, SpaceError, "fewer than the 6 published designs"),
        ({"search": {"trials": 7, "sampler": "grid"}, "attention": {}}, SpaceError, "distinct ones, but search.trials is 7"),
        (
            {
                "search": {"trials": 4, "sampler": "grid", "published_backbones": 1},
                "attention": {"per": "network", "kind": ["none", "se"]},
            },
            SpaceError,
            "beside 1 published designs outside it",
        ),
        (
            {"constraints": {"gflops": {"at_most": 1e-9}}},
            SpaceError,
            "constraints.gflops (0.00000",
        ),
        ({"constraints": {"params": {"at_most": 10}}}, SpaceError, "excludes everything: the cheapest architecture has 4,934"),
        (
            {"dataset": {"source": "digits", "limit": 100, "validation_fraction": 0.9999, "test_fraction": 0}},
            DataError,
            "The training split has images of one class only",
        ),
        (
            {"search": {"trials": 5, "scheduler": {"kind": "pareto_asha", "grace_period": 2}}},
            ConfigError,
            "the first rung, at epoch 2, is not before the last of 2 epochs",
        ),
        (
            {"search": {"trials": 5, "sampler": "nsga2", "scheduler": {"kind": "pareto_asha", "grace_period": 1}}},
            ConfigError,
            "nsga2 learns from complete trials alone",
        ),
        ({"objectives": {"latency_ms": "min", "accuracy": "max"}}, ConfigError, "in objectives needs the section latency"),
        (
            {
                "objectives": {"accuracy": "max", "latency_ms": "min"},
                "latency": {"device": "cpu"},
                "search": {"sampler": "known_cost"},
            },
            ConfigError,
            "objectives: sampler known_cost takes costs that are known before training; latency_ms is measured by each trial",
        ),
        (
            {"objectives": {"accuracy": "max", "macro_f1": "max"}, "search": {"sampler": "known_cost"}},
            ConfigError,
            "found accuracy and macro_f1. Another sampler, such as tpe, takes these objectives",
        ),
        ({"constraints": {"latency_ms": {"at_most": 5}}}, ConfigError, "in constraints needs the section latency"),
        (
            {"latency": {"device": "cpu"}},
            ConfigError,
            "nothing uses it: add latency_ms: min to objectives, or latency_ms: {at_most: ...}",
        ),
        ({"records": {"storage": "postgresql://a:b@c/d"}}, ConfigError, "password in plain text"),
    ],
)
def test_refused_before_anything_is_started_or_written(
    tmp_path: Path, changes: dict[str, object], error: type[UserError], words: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(error, match=words.replace("(", r"\(")):
        cbam_search.launch(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["space.yaml"]
    assert not ray.is_initialized() or ray.cluster_resources()


def test_paths_start_at_the_yaml_wherever_it_is_launched_from(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = write(tmp_path / "sub", dataset={"source": "parquet", "train": "train.parquet"})
    config, _ = read_study_config(path)
    assert config.dataset.train == str(tmp_path / "sub" / "train.parquet")


def test_a_grid_that_fits_after_its_constraint_is_taken(tmp_path: Path) -> None:
    attention = {"per": "network", "kind": ["none", "se"]}
    search = {"trials": 3, "sampler": "grid", "baselines": ["none", "se"]}
    path = write(tmp_path, attention=attention, search=search, constraints={"params": {"at_most": 6000}})
    config, _ = read_study_config(path)
    prepared = prepare(config)
    assert prepared.space.count() == 4
    assert [design.label for design in prepared.published.excluded] == ["cifar_resnet8_0.5", "cifar_resnet8_0.5+se"]


def test_the_reference_point_is_that_of_the_data_and_the_space(tmp_path: Path) -> None:
    config, _ = read_study_config(write(tmp_path))
    prepared = prepare(config)
    accuracy, gflops = prepared.objectives
    labels = prepared.data.validation.labels
    assert accuracy.reference == np.bincount(labels).max() / len(labels)
    largest = max(prepared.cost.cost(architecture).gflops for architecture in prepared.space.enumerate())
    assert gflops.reference == BEYOND_THE_WORST * largest
