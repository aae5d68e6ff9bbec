"""What a worker does about its candidate's latency: look where it may be known, else measure it, alone on the device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cbam_search.architecture import Architecture
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import Device, device_meant, devices_of_a_trial, physical_id
from cbam_search.cost.device_lock import LOCKS_VARIABLE, DeviceLock, Place
from cbam_search.cost.latency import LatencyBench, LatencySetting, Ratio
from cbam_search.cost.latency_cache import LatencyCache, default_folder
from cbam_search.errors import RecordsError, ResourceError
from cbam_search.metrics import LATENCY, Measured
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.safe_text import reason

WAIT_SECONDS = 5.0
"""For a device, before it is told that it is waited for."""


class DeviceTakenError(Exception):
    """A device was not to be had within WAIT_SECONDS. Try again: the place in line is kept. Its message: what is waited for."""


def wait_for(place: Place) -> None:
    """Until the device is ours. Raises DeviceTakenError, and RecordsError where the lock cannot be had at all."""
    try:
        had = place.had_within(WAIT_SECONDS)
    except OSError as error:
        raise RecordsError(
            f"the lock that keeps measurements and epochs apart cannot be had: {reason(error)}. {LOCKS_VARIABLE} names another "
            f"folder for it"
        ) from error
    if not had:
        raise DeviceTakenError(place.waits_for)


@dataclass(frozen=True)
class LatencyJob:
    """What all trials of a study share. device: the one type that its figures are for. at_most: the constraint, in ms."""

    config: LatencyConfig
    device: Device
    at_most: float | None


class LatencyUnit(Protocol):
    """What the reference network takes in a study, fixed by whoever measures it first."""

    def nominal_ms(self, setting: LatencySetting) -> float | None: ...

    def keep_nominal_ms(self, setting: LatencySetting, milliseconds: float) -> float: ...


class LatencyMeter:
    """Latencies of one worker's candidates: from this machine's cache, or else measured.

    What the reference network takes is fixed once for the study: every figure of a study has the same unit, even where nodes do
    not share a cache.
    """

    def __init__(
        self,
        job: LatencyJob,
        unit: LatencyUnit,
        *,
        channels: int,
        image_size: tuple[int, int],
        threads: int,
        on_gpu: bool,
        cache: LatencyCache | None = None,
        code: CodePermission = NO_CODE,
    ) -> None:
        """code: whether the user's own network may be built."""
        self._job = job
        self._unit = unit
        self._on_gpu = on_gpu
        self._code = code
        self._setting = LatencySetting.of(job.config, job.device, channels=channels, image_size=image_size, threads=threads)
        self._cache = cache or LatencyCache(default_folder())
        self._place: Place | None = None

    def metrics(self, architecture: Architecture) -> dict[str, Measured]:
        """latency_ms. Raises ResourceError on a device that the study is not for, DeviceMemoryError, and what `wait_for` does:
        after DeviceTakenError call it again, or `give_up`.
        """
        ratio, nominal_ms = self._known(architecture)
        if ratio is None or nominal_ms is None:
            self._check_device()
            self._place = self._place or DeviceLock(physical_id(self._job.device.torch_device())).for_measuring()
            wait_for(self._place)
            try:
                ratio, nominal_ms = self._measured(architecture)
            finally:
                self.give_up()
        return self._in_milliseconds(ratio, nominal_ms)

    def give_up(self) -> None:
        """Let go of the device, or of the place in line for it."""
        if self._place is not None:
            self._place.let_go()
            self._place = None

    def known(self, architecture: Architecture) -> dict[str, Measured] | None:
        """The same where nothing needs to be measured: this very setting was measured before; else None."""
        ratio, nominal_ms = self._known(architecture)
        if ratio is None or nominal_ms is None:
            return None
        return self._in_milliseconds(ratio, nominal_ms)

    def beyond(self, metrics: Mapping[str, Measured]) -> str | None:
        """Why a candidate of this latency is not trained; None where it is."""
        at_most = self._job.at_most
        if at_most is None or metrics[LATENCY].value <= at_most:
            return None
        return f"{LATENCY} {metrics[LATENCY].value:.4g} is above {at_most:g}"

    def _in_milliseconds(self, ratio: Ratio, nominal_ms: float) -> dict[str, Measured]:
        unit_ms = self._unit.keep_nominal_ms(self._setting, nominal_ms)
        return {LATENCY: ratio.measured_ms(unit_ms, self._setting.pairs)}

    def _known(self, architecture: Architecture) -> tuple[Ratio | None, float | None]:
        nominal_ms = self._unit.nominal_ms(self._setting) or self._cache.nominal_ms(self._setting)
        return self._cache.ratio(self._setting, architecture.digest), nominal_ms

    def _measured(self, architecture: Architecture) -> tuple[Ratio, float]:
        """What is still not known now that the device is ours: another worker may have measured it while we waited."""
        bench = LatencyBench(self._setting, code=self._code)
        ratio, nominal_ms = self._known(architecture)
        if nominal_ms is None:
            nominal_ms = bench.nominal_ms()
        if ratio is None:
            ratio = bench.ratio(architecture)
        with suppress(OSError):  # a cache that cannot be written costs time, not the trial
            nominal_ms = self._cache.keep_nominal_ms(self._setting, nominal_ms)
            self._cache.keep_ratio(self._setting, architecture.digest, ratio)
        return ratio, nominal_ms

    def _check_device(self) -> None:
        """A node that joined the cluster later may have another device; a figure of it must not stand beside the others."""
        devices = devices_of_a_trial(on_gpu=self._on_gpu)
        meant = device_meant(self._job.config.device, devices)
        if meant != self._job.device:
            here = " and ".join(device.name for device in devices)
            raise ResourceError(
                f"the latencies of this study are for {self._job.device.name}, and this worker has {here}: nothing was "
                f"measured here. Take such nodes out of the cluster, then resume the study"
            )
