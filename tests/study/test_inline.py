"""Studies in this process: interrupted from Python, one at a time, and beside somebody else's code."""

from __future__ import annotations

import os
import random
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import cbam_search
from cbam_search.backbones.shapes_only import shapes_only
from cbam_search.errors import StudyBusyError, StudyFailedError, StudyInterrupted
from cbam_search.records.events import EpochFinished, Event
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import TrialState
from cbam_search.running.cluster import TrialResources
from cbam_search.study.screen import Silence

SPACE = {
    "name": "inline",
    "dataset": {"source": "digits", "limit": 200},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": 0.25},
    "training": {"epochs": 3, "lr": 0.2, "warmup_epochs": 0},
    "search": {"trials": 4, "published_backbones": 1},
    "resources": {"executor": "inline"},
    "tracking": {"mlflow": False},
}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(SPACE))
    return path


class Does(Silence):
    """Does something at the second epoch of the study."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._epochs = 0

    def display(self, records: StudyRecords, resources: TrialResources) -> AbstractContextManager[Callable[[Event], None]]:
        @contextmanager
        def listening() -> Iterator[Callable[[Event], None]]:
            yield self._listen

        return listening()

    def _listen(self, event: Event) -> None:
        if isinstance(event, EpochFinished):
            self._epochs += 1
            if self._epochs == 2:
                self._action()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_raised_once_the_study_is_closed(space: Path, number: signal.Signals, code: int) -> None:
    """So that a loop over studies ends with it."""
    with pytest.raises(StudyInterrupted, match=r"study inline was stopped by .* cbam-search resume inline") as caught:
        cbam_search.launch(space, screen=Does(lambda: os.kill(os.getpid(), number)))
    assert isinstance(caught.value, KeyboardInterrupt)
    assert (caught.value.run, caught.value.exit_code) == ("inline", code)
    [cut_off] = cbam_search.open_study(caught.value.run).trials.values()
    assert cut_off.state is TrialState.RUNNING
    study = cbam_search.resume(caught.value.run)
    assert {trial.state for trial in study.trials.values() if trial.was_trained} == {TrialState.COMPLETE}
    outcome = study.trials[cut_off.number].outcome
    assert outcome is not None
    assert (outcome.epochs, study.trials[cut_off.number].attempts) == (3, 2)


def test_a_second_study_in_this_process_is_refused_while_one_runs(space: Path) -> None:
    refused: list[BaseException] = []

    def launch_another() -> None:
        def work() -> None:
            try:
                cbam_search.launch(space)
            except StudyBusyError as error:
                refused.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    study = cbam_search.launch(space, screen=Does(launch_another))
    assert [str(error) for error in refused] == [
        "this process drives a study already. Wait until it has ended, or start another process"
    ]
    assert [folder.name for folder in study.folder.path.parent.iterdir()] == ["inline"]
    assert cbam_search.launch(space).name == "inline-2"


def test_the_caller_s_process_is_left_as_it_was(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    random.seed(5)
    environment, filters, drawn, generator = dict(os.environ), list(warnings.filters), random.getstate(), torch.get_rng_state()
    cbam_search.launch(space)
    assert dict(os.environ) == environment
    assert list(warnings.filters) == filters
    assert random.getstate() == drawn
    assert torch.equal(torch.get_rng_state(), generator)


def test_building_for_shapes_leaves_other_threads_alone() -> None:
    inside, done = threading.Event(), threading.Event()

    def build() -> None:
        with shapes_only(), shapes_only():
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=build)
    thread.start()
    assert inside.wait(30)
    assert torch.equal(nn.init.ones_(torch.zeros(3)), torch.ones(3))
    done.set()
    thread.join()
    with shapes_only():
        assert nn.Linear(2, 2).weight.is_meta
    assert torch.equal(nn.init.ones_(torch.zeros(3)), torch.ones(3))


def test_a_bound_on_latency_that_no_network_keeps_ends_with_the_reason(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("CBAM_SEARCH_LOCKS", str(tmp_path / "locks"))
    bounded = {"latency": {"device": "cpu", "pairs": 9}, "constraints": {"latency_ms": {"at_most": 1e-6}}}
    space.write_text(yaml.safe_dump(SPACE | bounded | {"search": {"trials": 2, "baselines": ["none"]}}))
    with pytest.raises(StudyFailedError, match=r"nothing was trained: all 2 networks.*latency_ms .* is above 1e-06"):
        cbam_search.launch(space)


NEVER_FINITE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(in_channels, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.layer1(x).mean((2, 3))) * float("nan")

def net(*, in_channels, classes):
    return Net(in_channels, classes)
"""


def test_a_study_all_of_whose_trainings_diverge_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "never_finite.py").write_text(NEVER_FINITE)
    own = SPACE | {
        "backbone": {"module": "never_finite:net", "sites": ["layer1"]},
        "attention": {"kind": ["none", "se"], "reduction_ratio": [2]},
        "search": {"trials": 2, "published_backbones": 1, "baselines": ["none"]},
    }
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(own))
    with pytest.raises(StudyFailedError, match=r"all 2 trainings diverged, .*loss of epoch 1 is nan.*training\.lr"):
        cbam_search.launch("space.yaml", allow_code=True)
