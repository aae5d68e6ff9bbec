"""What a worker does about its candidate's latency: where it looks first, when it measures, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from workers import worker_of

from cbam_search.architecture import Architecture
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import Device, devices_of_a_trial
from cbam_search.cost.latency import LatencySetting, Ratio
from cbam_search.cost.latency_cache import LatencyCache
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import ResourceError
from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.folder import StudyFolder
from cbam_search.records.results import read_epochs, read_measured, read_result
from cbam_search.records.trials import TrialState
from cbam_search.running import latency_meter as latency_module
from cbam_search.running.latency_meter import LatencyJob, LatencyMeter

(HERE,) = devices_of_a_trial(on_gpu=False)
CONFIG = LatencyConfig(device="cpu", pairs=5)
JOB = LatencyJob(CONFIG, HERE, at_most=None)
CANDIDATE = Architecture.named("cifar_resnet8_0.25+se", in_channels=1, classes=10)
OTHER = Architecture.named("cifar_resnet8_0.25", in_channels=1, classes=10)


class FakeBench:
    """Says 2.0 reference networks, of 1.5 ms each; notes what it was asked, and whether the device was held."""

    asked: ClassVar[list[str]] = []
    held = 0

    def __init__(self, setting: LatencySetting, **_: object) -> None:
        self.setting = setting

    def ratio(self, architecture: Architecture) -> Ratio:
        self._note(architecture.label)
        return Ratio(2.0, 0.1)

    def nominal_ms(self) -> float:
        self._note("nominal")
        return 1.5

    def _note(self, what: str) -> None:
        assert FakeBench.held == 1, "measured without holding the device alone"
        FakeBench.asked.append(what)


class FakeLock:
    """And the place in line for it."""

    waits_for = "nothing"

    def __init__(self, device_id: str) -> None:
        assert device_id == "cpu"

    def for_measuring(self) -> FakeLock:
        return self

    def had_within(self, _seconds: float) -> bool:
        FakeBench.held += 1
        return True

    def let_go(self) -> None:
        FakeBench.held -= 1


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> type[FakeBench]:
    FakeBench.asked = []
    monkeypatch.setattr(latency_module, "LatencyBench", FakeBench)
    monkeypatch.setattr(latency_module, "DeviceLock", FakeLock)
    return FakeBench


def meter(
    tmp_path: Path, *, study: str = "study", cache: str = "cache", job: LatencyJob = JOB, on_gpu: bool = False
) -> LatencyMeter:
    unit = LatencyCache(StudyFolder(tmp_path / study).latency)
    kept = LatencyCache(tmp_path / cache)
    return LatencyMeter(job, unit, channels=1, image_size=(8, 8), threads=1, on_gpu=on_gpu, cache=kept)


def test_each_network_is_measured_once_and_the_reference_once_for_all(tmp_path: Path, bench: type[FakeBench]) -> None:
    figures = meter(tmp_path).metrics(CANDIDATE)
    assert figures == {LATENCY: Measured(value=3.0, standard_error=0.1 * 1.5, n=5)}
    assert bench.asked == ["nominal", CANDIDATE.label]
    meter(tmp_path).metrics(OTHER)
    assert bench.asked == ["nominal", CANDIDATE.label, OTHER.label]
    assert meter(tmp_path, study="another").metrics(CANDIDATE) == figures
    assert len(bench.asked) == 3


def test_a_study_has_one_nominal_figure_even_where_nodes_share_no_cache(
    tmp_path: Path, bench: type[FakeBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    meter(tmp_path).metrics(CANDIDATE)
    monkeypatch.setattr(bench, "nominal_ms", lambda _self: 99.0)
    assert meter(tmp_path, cache="of another node").metrics(CANDIDATE)[LATENCY].value == 3.0


def test_what_another_worker_measured_while_this_one_waited_is_taken(
    tmp_path: Path, bench: type[FakeBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waits(FakeLock):
        def had_within(self, seconds: float) -> bool:
            monkeypatch.setattr(latency_module, "DeviceLock", FakeLock)
            meter(tmp_path, study="another").metrics(CANDIDATE)
            bench.asked.clear()
            return super().had_within(seconds)

    monkeypatch.setattr(latency_module, "DeviceLock", Waits)
    assert meter(tmp_path).metrics(CANDIDATE)[LATENCY].value == 3.0
    assert bench.asked == []


def test_a_cache_that_cannot_be_written_does_not_cost_the_trial(tmp_path: Path, bench: type[FakeBench]) -> None:
    (tmp_path / "cache").touch()
    assert meter(tmp_path).metrics(CANDIDATE)[LATENCY].value == 3.0
    assert meter(tmp_path).metrics(CANDIDATE)[LATENCY].value == 3.0
    assert bench.asked == ["nominal", CANDIDATE.label, CANDIDATE.label]


def test_no_figure_of_another_device(tmp_path: Path, bench: type[FakeBench]) -> None:
    elsewhere = replace(JOB, device=Device("cpu", "another processor"))
    with pytest.raises(ResourceError, match=r"are for another processor, and this worker has .*: nothing was measured"):
        meter(tmp_path, job=elsewhere).metrics(CANDIDATE)
    assert bench.asked == []


def test_the_bound_itself_is_kept() -> None:
    within = LatencyMeter.beyond
    bounded = LatencyMeter(
        replace(JOB, at_most=3.0), LatencyCache(Path("x")), channels=1, image_size=(8, 8), threads=1, on_gpu=False
    )
    assert within(bounded, {LATENCY: Measured(value=3.0)}) is None
    assert within(bounded, {LATENCY: Measured(value=3.14159)}) == "latency_ms 3.142 is above 3"


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(DatasetConfig(source="digits", limit=200), seed=0)


@pytest.fixture
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("CBAM_SEARCH_LOCKS", str(tmp_path / "locks"))


@pytest.mark.usefixtures("_own_places")
class TestInAWorker:
    def test_the_figure_is_with_every_epoch_and_in_the_outcome(self, digits: ImageData, tmp_path: Path) -> None:
        worker = worker_of(digits, tmp_path / "study", latency=JOB)
        first, last = worker.step(), worker.step()
        assert last.outcome is not None
        figure = last.outcome.metrics[LATENCY]
        assert figure.value > 0
        assert figure.standard_error is not None
        assert first.measured == last.measured == {LATENCY: figure}
        folder = StudyFolder(tmp_path / "study")
        assert read_measured(folder.measured("0")) == {LATENCY: figure}
        assert [epoch.epoch for epoch in read_epochs(folder.epochs("0"))] == [1, 2]
        assert read_result(folder.result("0")) == last.outcome

    def test_a_trial_that_goes_on_on_a_node_with_its_own_cache_keeps_its_figure(
        self, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = worker_of(digits, tmp_path / "study", latency=JOB).step()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of another node"))
        monkeypatch.setattr(latency_module, "LatencyBench", None)
        assert worker_of(digits, tmp_path / "study", latency=JOB).step().measured == first.measured

    def test_measuring_does_not_change_the_training(self, digits: ImageData, tmp_path: Path) -> None:
        def curve(folder: str, latency: LatencyJob | None) -> list[dict[str, float]]:
            worker = worker_of(digits, tmp_path / folder, latency=latency)
            return [epoch.metrics for _ in range(2) if (epoch := worker.step().epoch) is not None]

        assert curve("with", JOB) == curve("without", None)
        assert len(curve("again", None)) == 2

    def test_one_that_is_too_slow_is_not_trained(self, digits: ImageData, tmp_path: Path) -> None:
        outcome = worker_of(digits, tmp_path / "study", latency=replace(JOB, at_most=1e-6)).step().outcome
        assert outcome is not None
        assert (outcome.state, outcome.epochs) == (TrialState.INFEASIBLE, 0)
        assert "is above 1e-06" in (outcome.reason or "")
        assert set(outcome.metrics) == {LATENCY}
        assert outcome.metrics[LATENCY].standard_error is not None
        folder = StudyFolder(tmp_path / "study")
        assert not folder.epochs("0").exists()
        assert read_result(folder.result("0")) == outcome

    def test_the_wrong_device_fails_the_trial_with_a_reason_that_repeats(self, digits: ImageData, tmp_path: Path) -> None:
        elsewhere = replace(JOB, device=Device("cpu", "another processor"))
        outcome = worker_of(digits, tmp_path / "study", latency=elsewhere).step().outcome
        assert outcome is not None
        assert outcome.state is TrialState.FAILED
        assert (outcome.reason or "").startswith("the latencies of this study are for another processor")
        assert outcome.metrics == {}
