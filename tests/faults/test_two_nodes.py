"""Studies over two nodes that share no folder: all that workers find out reaches the driver through Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from two_nodes import TwoNodes, can_hide_folders, two_nodes
from watched_network import WatchedNetworks

from cbam_search.metrics import LATENCY
from cbam_search.records.events import EpochFinished, Event, TrialFinished
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.results import read_epochs
from cbam_search.records.trials import TrialState
from cbam_search.study.study import Study, read_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_hide_folders(), reason="a mount namespace of its own is not permitted here"),
]

SPACE: dict[str, Any] = {
    "name": "nodes",
    "dataset": {"source": "digits", "limit": 300},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": 0.25},
    "attention": {"kind": ["none", "se"]},
    "training": {"epochs": 2, "batch_size": 64},
    "search": {"trials": 4, "baselines": ["none"]},
    "tracking": {"mlflow": False},
}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    hidden, caches = tmp_path_factory.mktemp("studies"), tmp_path_factory.mktemp("caches")
    with two_nodes(hidden, caches) as found:
        yield found


def command(nodes: TwoNodes, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """cbam-search at work on the driver's node."""
    executable = Path(sys.executable).with_name("cbam-search")
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            [executable, *arguments], cwd=folder, env=nodes.environment, stdout=output, stderr=subprocess.STDOUT, text=True
        )


def launch(nodes: TwoNodes, folder: Path, name: str, **changes: Any) -> subprocess.Popen[str]:
    where = {"records": {"folder": str(nodes.hidden)}, "resources": {"address": nodes.address}}
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE | where | {"name": name} | changes))
    return command(nodes, folder, "launch", "space.yaml", "--allow-code")


def check_succeeds(process: subprocess.Popen[str], folder: Path) -> None:
    try:
        assert process.wait(timeout=200) == 0, (folder / "output.txt").read_text()
    finally:
        process.kill()


def study_of(nodes: TwoNodes, name: str) -> Study:
    return read_study(StudyFolder(nodes.hidden / name))


def events_of(nodes: TwoNodes, name: str) -> list[Event]:
    return [event for event, _ in read_events(nodes.hidden / name / "ledger.jsonl")]


def test_a_study_completes_with_nothing_shared(nodes: TwoNodes, tmp_path: Path) -> None:
    check_succeeds(launch(nodes, tmp_path, "plain"), tmp_path)
    study, folder = study_of(nodes, "plain"), StudyFolder(nodes.hidden / "plain")
    trained = [trial for trial in study.trials.values() if trial.was_trained]
    assert [trial.state for trial in trained] == [TrialState.COMPLETE] * 4
    assert study.front.numbers
    for number in study.front.numbers:
        assert folder.weights(study.trials[number].evaluation).stat().st_size > 0
    check_succeeds(command(nodes, tmp_path, "export", str(folder.path), "--output", "best"), tmp_path)
    assert list(tmp_path.glob("best*"))
    assert nodes.seen_by_second() == []


def test_latencies_are_measured_with_nothing_shared(nodes: TwoNodes, tmp_path: Path) -> None:
    objectives = {"accuracy": "max", LATENCY: "min"}
    check_succeeds(launch(nodes, tmp_path, "timed", objectives=objectives, latency={"device": "cpu", "pairs": 9}), tmp_path)
    study = study_of(nodes, "timed")
    complete = [trial for trial in study.trials.values() if trial.state is TrialState.COMPLETE]
    assert len(complete) >= 2
    assert all(trial.values and trial.values[LATENCY] > 0 for trial in complete)
    assert list((nodes.hidden / "timed" / "latency").rglob("*.json")), "the unit of the study's latencies is not kept"
    assert nodes.seen_by_second() == []


def wait_for(happens: Callable[[], bool], process: subprocess.Popen[str], folder: Path) -> None:
    deadline = time.monotonic() + 150
    while not happens():
        assert process.poll() is None, (folder / "output.txt").read_text()
        assert time.monotonic() < deadline, (folder / "output.txt").read_text()
        time.sleep(0.01)


def test_a_death_on_another_node_has_its_reason_and_files_of_the_launch_stand_in_for_nothing(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    networks = WatchedNetworks.in_folder(tmp_path / "code")
    for name in ("profile", "queue", "statistics", "calendar"):
        (networks.folder / f"{name}.py").write_text("raise ImportError('taken for another module')")
    process = launch(
        nodes,
        networks.folder,
        "aborting",
        backbone={"module": "net:Net", "arguments": {"name": "aborting"}, "sites": ["layer"]},
        search={"trials": 1, "baselines": []},
    )
    check_succeeds(process, networks.folder)
    [trial] = [trial for trial in study_of(nodes, "aborting").trials.values() if trial.was_trained]
    assert trial.outcome is not None
    assert "Fatal Python error: Aborted (net.py:" in (trial.outcome.reason or "")
    assert "beyond repair" in StudyFolder(nodes.hidden / "aborting").error(trial.evaluation).read_text()


def test_a_worker_killed_right_after_it_has_sent_a_checkpoint(nodes: TwoNodes, tmp_path: Path) -> None:
    """Its epochs take half a second, so that a checkpoint is due long before the last of them."""
    networks, epochs = WatchedNetworks.in_folder(tmp_path / "code"), 80
    process = launch(
        nodes,
        networks.folder,
        "killed",
        backbone={"module": "net:Net", "arguments": {"name": "slow", "step_seconds": 0.5}, "sites": ["layer"]},
        training={"epochs": epochs, "batch_size": 300},
        search={"trials": 1, "baselines": []},
    )
    folder = StudyFolder(nodes.hidden / "killed")
    wait_for(lambda: bool(list(folder.evaluations.glob("*/checkpoint.safetensors"))), process, networks.folder)
    os.kill(networks.worker("slow"), signal.SIGKILL)
    [evaluation] = [path.name for path in folder.evaluations.iterdir()]
    sent = read_epochs(folder.epochs(evaluation))[-1].epoch
    trained = networks.steps("slow")
    check_succeeds(process, networks.folder)
    [trial] = [trial for trial in study_of(nodes, "killed").trials.values() if trial.was_trained]
    assert (trial.state, trial.attempts) == (TrialState.COMPLETE, 2)
    events = events_of(nodes, "killed")
    told = Counter(event.epoch for event in events if isinstance(event, EpochFinished))
    assert told == Counter(range(1, epochs + 1))
    assert len([event for event in events if isinstance(event, TrialFinished)]) == 1
    assert networks.steps("slow") - trained <= epochs - sent, "epochs before the checkpoint were trained again"
    assert nodes.seen_by_second() == []
