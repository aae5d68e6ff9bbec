"""Real studies with latency_ms, on Ray and this machine's processor: constraint, cache, resume, refusals."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import ray
import yaml

import cbam_search
from cbam_search.cost.device import processor_name
from cbam_search.errors import ResourceError, StudyInterrupted, UserError
from cbam_search.metrics import LATENCY
from cbam_search.records.events import ArchitectureMeasured, EpochFinished, Event, FrontUpdated
from cbam_search.records.ledger import Listener, read_events
from cbam_search.records.results import read_measured
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import TrialState
from cbam_search.running.cluster import TrialResources
from cbam_search.search.reference import BEYOND_THE_WORST
from cbam_search.study.screen import Silence
from cbam_search.study.study import Study

SPACE = {
    "name": "timed",
    "dataset": {"source": "digits", "limit": 400},
    "backbone": {"family": "cifar_resnet", "depth": [8, 20], "width": 0.25},
    "attention": {"per": "network"},
    "objectives": {"accuracy": "max", "latency_ms": "min"},
    "latency": {"device": "cpu", "pairs": 9},
    "training": {"epochs": 2, "lr": 0.2, "warmup_epochs": 0},
    "search": {"trials": 6, "published_backbones": 2},
    "tracking": {"mlflow": False},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(SPACE | changes))
    return path


@pytest.fixture(scope="module")
def _ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Workers see the variables that Ray was started with. The folder: of the cache of latencies."""
    places = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(places / "caches"))
        patch.setenv("CBAM_SEARCH_LOCKS", str(places / "locks"))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield places / "caches" / "cbam-search" / "latency"
        ray.shutdown()


def figures(study: Study) -> dict[str, tuple[float, float]]:
    """By digest, of the trials that measured one."""
    return {
        trial.candidate.digest: (trial.outcome.metrics[LATENCY].value, trial.outcome.metrics[LATENCY].standard_error)
        for trial in study.trials.values()
        if trial.outcome is not None and LATENCY in trial.outcome.metrics
    }


class StopsAfterTwo(Silence):
    """Presses Ctrl-C once two trainings have ended."""

    ended = 0

    def display(self, records: StudyRecords, resources: TrialResources) -> AbstractContextManager[Listener]:
        def listen(event: Event) -> None:
            self.ended += isinstance(event, FrontUpdated)
            if self.ended == 2 and isinstance(event, FrontUpdated):
                signal.raise_signal(signal.SIGINT)

        return nullcontext(listen)


@pytest.mark.slow
class TestOnRay:
    def test_latency_as_an_objective(self, _ray: Path, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path))
        assert [objective.name for objective in study.manifest.objectives] == ["accuracy", LATENCY]
        assert study.manifest.latency is not None
        assert (study.manifest.latency.device, study.manifest.latency.threads) == (processor_name(), 1)
        trained = [trial for trial in study.trials.values() if trial.was_trained]
        assert [trial.state for trial in trained] == [TrialState.COMPLETE] * 6
        assert all(trial.values[LATENCY] == trial.outcome.metrics[LATENCY].value > 0 for trial in trained)
        assert len(figures(study)) == 6
        reference = study.manifest.objectives[1].reference
        assert reference == BEYOND_THE_WORST * max(trial.values[LATENCY] for trial in trained)
        fronts = [event for event, _ in read_events(study.folder.ledger) if isinstance(event, FrontUpdated)]
        assert [event.hypervolume is None for event in fronts] == [True] * 5 + [False]
        assert fronts[-1].hypervolume == study.front.hypervolume
        events = [event for event, _ in read_events(study.folder.ledger)]
        measured = {event.trial: event.metrics for event in events if isinstance(event, ArchitectureMeasured)}
        assert measured == {trial.number: {LATENCY: trial.outcome.metrics[LATENCY]} for trial in trained}
        epochs = [event for event in events if isinstance(event, EpochFinished)]
        assert {event.trial for event in epochs} == set(measured)
        assert not any(LATENCY in event.metrics for event in epochs)

        exported = json.loads((study.export(tmp_path / "best") / "architecture.json").read_text())["metadata"]
        assert exported[LATENCY] > 0
        assert exported["latency"]["device"] == processor_name()

    def test_a_second_launch_measures_nothing(self, _ray: Path, tmp_path: Path) -> None:
        first = cbam_search.launch(write(tmp_path))
        before = {path.name: path.stat().st_mtime_ns for path in _ray.iterdir()}
        assert len(before) == len(figures(first)) + 1
        second = cbam_search.launch(write(tmp_path))
        assert second.name != first.name
        assert figures(second) == figures(first)
        assert {path.name: path.stat().st_mtime_ns for path in _ray.iterdir()} == before

    def test_a_constraint_that_some_break_and_a_resume(self, _ray: Path, tmp_path: Path) -> None:
        known = figures(cbam_search.launch(write(tmp_path)))
        bound = sorted(latency for latency, _ in known.values())[3]
        path = write(tmp_path, name="bounded", constraints={LATENCY: {"at_most": bound}})
        study = cbam_search.launch(path)
        slow = [trial for trial in study.trials.values() if trial.state is TrialState.INFEASIBLE]
        assert {trial.candidate.digest for trial in slow} == {
            digest for digest, (latency, _) in known.items() if latency > bound
        }
        for trial in slow:
            assert (trial.outcome.epochs, set(trial.outcome.metrics)) == (0, {LATENCY})
            assert trial.outcome.metrics[LATENCY].standard_error is not None
            assert f"is above {bound:g}" in trial.outcome.reason
            assert not study.folder.epochs(trial.evaluation).exists()
        assert len(study.front.ranks) == 6 - len(slow)
        assert study.manifest.objectives[1].reference == bound
        assert not study.folder.references.exists()
        again = cbam_search.resume("bounded")
        assert (again.trials, again.front, again.manifest) == (study.trials, study.front, study.manifest)

    def test_a_resume_reads_the_reference_that_was_fixed_and_keeps_to_the_device(self, _ray: Path, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path))
        assert study.folder.references.is_file()
        again = cbam_search.resume("timed")
        assert (again.front, again.manifest) == (study.front, study.manifest)
        assert study.manifest.latency is not None
        elsewhere = study.manifest.latency.model_copy(update={"device": "another processor"})
        study.folder.write_manifest(study.manifest.model_copy(update={"latency": elsewhere}))
        with pytest.raises(ResourceError, match="measured latencies in batches of 1 on another processor"):
            cbam_search.resume("timed")

    def test_an_interrupted_study_goes_on_and_measures_no_network_twice(self, _ray: Path, tmp_path: Path) -> None:
        before = set(_ray.iterdir()) if _ray.exists() else set()
        settings = {"latency": {"device": "cpu", "pairs": 11}, "training": {"epochs": 20, "lr": 0.2, "warmup_epochs": 0}}
        with pytest.raises(StudyInterrupted):
            cbam_search.launch(write(tmp_path, **settings), screen=StopsAfterTwo())
        stopped = cbam_search.open_study("timed")
        assert stopped.manifest.objectives[1].reference is None
        assert stopped.front.hypervolume is None
        measured = {
            trial.number: read_measured(stopped.folder.measured(trial.evaluation))
            for trial in stopped.trials.values()
            if stopped.folder.measured(trial.evaluation).is_file()
        }
        assert 2 <= len(measured) < 6
        study = cbam_search.resume("timed")
        assert [trial.state for trial in study.trials.values() if trial.was_trained] == [TrialState.COMPLETE] * 6
        for number, figure in measured.items():
            assert figure.keys() == {LATENCY}
            assert figure.items() <= study.trials[number].outcome.metrics.items()
        assert study.front.hypervolume is not None
        assert len(set(_ray.iterdir()) - before) == 6 + 1

    @pytest.mark.parametrize("device", ["cuda", "H100"])
    def test_a_cluster_without_the_device_is_refused_before_anything_is_written(
        self, _ray: Path, tmp_path: Path, device: str
    ) -> None:
        path = write(tmp_path, latency={"device": device}, resources={"gpus_per_trial": 0})
        with pytest.raises(ResourceError, match=rf"latency\.device is '{device}', and .* has .*\. Trials have no GPU here"):
            cbam_search.launch(path)
        assert not (tmp_path / "studies").exists()

    def test_an_edited_section_is_not_resumed_on(self, _ray: Path, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path))
        text = study.folder.given_yaml.read_text()
        study.folder.given_yaml.write_text(text.replace("pairs: 9", "pairs: 10"))
        with pytest.raises(UserError, match=r"edited since the study began: latency\.pairs\."):
            cbam_search.resume("timed")
