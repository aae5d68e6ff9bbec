"""Latency of a network on a device, measured against a reference network so that changes in the machine's speed cancel.

The speed of a machine drifts: clocks change, other programs start and stop. So the candidate (A) and a fixed published network,
the reference (R), are timed in turn, A R A R ..., and only the ratios a_i / r_i of neighbouring passes count. What the
reference takes in milliseconds is measured once, and kept: figures of one setting are comparable whenever they were measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from cbam_search.architecture import Architecture
from cbam_search.backbones.builder import build
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import Device
from cbam_search.errors import DeviceMemoryError
from cbam_search.metrics import Measured
from cbam_search.own_code import NO_CODE, CodePermission

T = TypeVar("T")

LARGE_IMAGE = 96
"""Pixels: from this height or width on, the reference is an ImageNet network."""
WARM_UP_PASSES = 3
WARM_UP_SECONDS = 0.2
"""Warming up takes at least this long: caches fill, clocks rise, libraries choose their kernels."""


@dataclass(frozen=True)
class LatencySetting:
    """All that a latency depends on beside the network: figures of one setting are comparable.

    image_size: (height, width). threads: of torch, on a processor; 0 on a GPU, where they do not count. pairs: as in
    `LatencyConfig`. versions: of what computes.
    """

    device: Device
    batch_size: int
    channels: int
    image_size: tuple[int, int]
    precision: str
    threads: int
    pairs: int
    versions: dict[str, str]

    @classmethod
    def of(
        cls, config: LatencyConfig, device: Device, *, channels: int, image_size: tuple[int, int], threads: int
    ) -> LatencySetting:
        on_cpu = device.kind == "cpu"
        versions = {name: version(name) for name in ("cbam-search", "torch")}
        if not on_cpu:
            versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
        return cls(
            device=device,
            batch_size=config.batch_size,
            channels=channels,
            image_size=image_size,
            precision=config.precision,
            threads=threads if on_cpu else 0,
            pairs=config.pairs,
            versions=versions,
        )

    def reference(self) -> Architecture:
        """The published network that candidates are timed against: cifar_resnet20, or resnet18 for large images."""
        if max(self.image_size) < LARGE_IMAGE:
            return Architecture.named("cifar_resnet20", in_channels=self.channels, classes=10)
        return Architecture.named("resnet18", in_channels=self.channels, classes=1000)


@dataclass(frozen=True)
class Ratio:
    """How long a network takes, with the reference network as the unit: median of all pairs, and half of their interquartile
    range.
    """

    median: float
    half_iqr: float

    def measured_ms(self, nominal_ms: float, pairs: int) -> Measured:
        """In milliseconds, of so many pairs, where the reference network takes `nominal_ms`."""
        return Measured(value=self.median * nominal_ms, standard_error=self.half_iqr * nominal_ms, n=pairs)


class LatencyBench:
    """Times networks in one setting, in this process; whoever calls holds the device alone.

    A pass is timed from the host: from the call until its result is there, the launching of kernels included, with the device
    idle before. Networks are in eval mode, in inference mode, without autocast, and laid out channels_last wherever that is the
    faster way: on processors, and in half precision.
    """

    def __init__(
        self,
        setting: LatencySetting,
        *,
        clock: Callable[[], float] = time.perf_counter,
        code: CodePermission = NO_CODE,
    ) -> None:
        """clock: seconds. code: as for `build`, whose errors are raised."""
        self._setting = setting
        self._code = code
        self._clock = clock
        self._device = setting.device.torch_device()
        self._type: torch.dtype = getattr(torch, setting.precision)
        half = self._type is not torch.float32
        self._memory_format = torch.channels_last if half or self._device.type == "cpu" else torch.contiguous_format
        self._reference: nn.Module | None = None

    def ratio(self, architecture: Architecture) -> Ratio:
        """Time `architecture` and the reference in turn: the median of a_i / r_i over all pairs, and half of the interquartile
        range of these ratios. The spread is thus that of single pairs, which is wider than the error of their median.

        Raises DeviceMemoryError.
        """

        def timed() -> Ratio:
            candidate, reference, images = self._laid_out(architecture), self._laid_out_reference(), self._images()
            self._warm_up([candidate, reference], images)
            pairs = [(self._seconds(candidate, images), self._seconds(reference, images)) for _ in range(self._setting.pairs)]
            ratios = np.array([a / r for a, r in pairs])
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            return Ratio(median=float(middle), half_iqr=float(high - low) / 2)

        return _in_memory(timed)

    def nominal_ms(self) -> float:
        """What the reference network takes on its own now: the median of as many passes as there are pairs, in milliseconds.

        Raises DeviceMemoryError.
        """

        def timed() -> float:
            reference, images = self._laid_out_reference(), self._images()
            self._warm_up([reference], images)
            return 1e3 * float(np.median([self._seconds(reference, images) for _ in range(self._setting.pairs)]))

        return _in_memory(timed)

    def _laid_out(self, architecture: Architecture) -> nn.Module:
        """Freshly made: weights do not change how long a pass takes. The caller's random numbers are left as they were."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(architecture, code=self._code)
        network.to(self._device, self._type)
        network.to(memory_format=self._memory_format)  # type: ignore[call-overload]
        return network.eval()

    def _laid_out_reference(self) -> nn.Module:
        if self._reference is None:
            self._reference = self._laid_out(self._setting.reference())
        return self._reference

    def _images(self) -> Tensor:
        """(N, C, H, W) of noise."""
        shape = (self._setting.batch_size, self._setting.channels, *self._setting.image_size)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return images.to(self._device, self._type).contiguous(memory_format=self._memory_format)

    def _warm_up(self, networks: list[nn.Module], images: Tensor) -> None:
        begin, passes = self._clock(), 0
        while passes < WARM_UP_PASSES or self._clock() - begin < WARM_UP_SECONDS:
            for network in networks:
                self._seconds(network, images)
            passes += 1

    @torch.inference_mode()
    def _seconds(self, network: nn.Module, images: Tensor) -> float:
        self._wait()
        begin = self._clock()
        network(images)
        self._wait()
        return self._clock() - begin

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _in_memory(timed: Callable[[], T]) -> T:
    try:
        return timed()
    except torch.OutOfMemoryError as error:
        failure = str(error)
    # Raised out here: inside, the old traceback would hold on to the memory.
    raise DeviceMemoryError(failure)
