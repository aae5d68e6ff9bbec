"""Timing in turn, with a clock and networks that do as they are told; and once for real, whatever it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cbam_search.architecture import Architecture
from cbam_search.cost import latency as latency_module
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import Device, devices_of_a_trial
from cbam_search.cost.latency import LatencyBench, LatencySetting, Ratio
from cbam_search.errors import DeviceMemoryError

CPU = Device("cpu", "some processor")
CANDIDATE = Architecture.named("cifar_resnet8_0.25+se", in_channels=1, classes=10)
PAIRS = 20


def setting(**changes: object) -> LatencySetting:
    made = LatencySetting.of(LatencyConfig(device="cpu", pairs=PAIRS), CPU, channels=1, image_size=(8, 8), threads=1)
    return replace(made, **changes)  # type: ignore[arg-type]


class Machine:
    """A clock, and networks whose passes take what `seconds(name, time)` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[str, float], float]) -> None:
        self.now = 0.0
        self.passes: list[str] = []
        self._seconds = seconds
        monkeypatch.setattr(latency_module, "build", self._build)

    def clock(self) -> float:
        return self.now

    def _build(self, architecture: Architecture, **_: object) -> nn.Module:
        return _Network(self, "reference" if architecture.label == "cifar_resnet20" else "candidate")

    def run(self, name: str) -> None:
        self.passes.append(name)
        self.now += self._seconds(name, self.now)


class _Network(nn.Module):
    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__()
        self.machine, self.name = machine, name

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.machine.run(self.name)
        return x


def test_candidate_and_reference_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda name, _: {"candidate": 0.03, "reference": 0.01}[name])
    ratio = LatencyBench(setting(), clock=machine.clock).ratio(CANDIDATE)
    assert ratio.median == pytest.approx(3.0)
    assert ratio.half_iqr == pytest.approx(0.0, abs=1e-9)
    assert machine.passes == ["candidate", "reference"] * (len(machine.passes) // 2)
    assert len(machine.passes) > 2 * PAIRS


def test_a_machine_that_slows_down_changes_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda name, now: {"candidate": 0.002, "reference": 0.001}[name] * (1 + now))
    ratio = LatencyBench(setting(), clock=machine.clock).ratio(CANDIDATE)
    slowed = 1 + machine.now
    assert slowed > 1.2
    assert ratio.median == pytest.approx(2.0, rel=0.01)


def test_the_spread_is_half_the_interquartile_range_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0).uniform(1.0, 2.0, 10_000)
    machine = Machine(monkeypatch, lambda name, _: 0.01 if name == "reference" else 0.01 * drawn[len(machine.passes)])
    ratio = LatencyBench(setting(), clock=machine.clock).ratio(CANDIDATE)
    numbers = [index + 1 for index, name in enumerate(machine.passes) if name == "candidate"][-PAIRS:]
    low, middle, high = np.quantile(drawn[numbers], (0.25, 0.5, 0.75))
    assert (ratio.median, ratio.half_iqr) == (pytest.approx(middle), pytest.approx((high - low) / 2))


def test_the_nominal_figure_is_the_reference_network_s_own_median(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda _name, _now: 0.5 if len(machine.passes) % 7 == 0 else 0.004)
    assert LatencyBench(setting(), clock=machine.clock).nominal_ms() == pytest.approx(4.0)
    assert set(machine.passes) == {"reference"}


def test_milliseconds_are_ratios_times_the_nominal_figure() -> None:
    measured = Ratio(2.0, 0.1).measured_ms(1.5, pairs=PAIRS)
    assert (measured.value, measured.standard_error, measured.n) == (3.0, pytest.approx(0.15), PAIRS)


def test_too_little_memory_is_said_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(_name: str, _now: float) -> float:
        raise torch.OutOfMemoryError("40 GiB")

    machine = Machine(monkeypatch, seconds)
    with pytest.raises(DeviceMemoryError, match="40 GiB"):
        LatencyBench(setting(), clock=machine.clock).ratio(CANDIDATE)


@pytest.mark.parametrize(("size", "name"), [((95, 32), "cifar_resnet20"), ((64, 96), "resnet18"), ((224, 224), "resnet18")])
def test_the_reference_network_goes_by_the_size_of_the_images(size: tuple[int, int], name: str) -> None:
    reference = setting(image_size=size, channels=3).reference()
    assert reference.label == name
    assert reference.backbone.in_channels == 3


def test_threads_count_on_a_processor_alone() -> None:
    config = LatencyConfig(device="cuda")
    of = {"channels": 3, "image_size": (32, 32), "threads": 4}
    assert LatencySetting.of(config, CPU, **of).threads == 4
    on_gpu = LatencySetting.of(config, Device("cuda", "NVIDIA H100"), **of)
    assert on_gpu.threads == 0
    assert {"torch", "cuda", "cudnn", "cbam-search"} <= set(on_gpu.versions)


def test_a_real_network_is_timed_and_random_numbers_are_left_alone() -> None:
    (here,) = devices_of_a_trial(on_gpu=False)
    bench = LatencyBench(setting(device=here, pairs=5))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert bench.nominal_ms() > 0
    assert bench.ratio(CANDIDATE).median > 0
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_gpu_is_timed(precision: str) -> None:
    gpu = devices_of_a_trial(on_gpu=True)[0]
    bench = LatencyBench(setting(device=gpu, precision=precision))
    assert bench.nominal_ms() > 0
    assert bench.ratio(CANDIDATE).median > 0
