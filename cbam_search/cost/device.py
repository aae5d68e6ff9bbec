"""Devices that a latency may be for: the names of their types, and which one of them is meant."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch


@dataclass(frozen=True)
class Device:
    """A type of device. name: of the GPU as CUDA gives it, or of the processor's model."""

    kind: Literal["cpu", "cuda"]
    name: str

    def torch_device(self) -> torch.device:
        return torch.device(self.kind)


def devices_of_a_trial(*, on_gpu: bool) -> tuple[Device, ...]:
    """What a trial in this process could measure on: its GPU, where it was given one, and the processor."""
    gpu = (Device("cuda", torch.cuda.get_device_name()),) if on_gpu else ()
    return (*gpu, Device("cpu", processor_name()))


def device_meant(named: str, devices: Iterable[Device]) -> Device | None:
    """The first device that the YAML's `latency.device` names, whatever its case; None where there is none."""
    wanted = named.casefold()
    kinds = ("cpu", "cuda")
    for device in devices:
        if wanted == device.kind or (wanted not in kinds and wanted in device.name.casefold()):
            return device
    return None


def physical_id(device: torch.device) -> str:
    """The same for every process of a host that computes on the same device, whatever CUDA_VISIBLE_DEVICES hides from it."""
    return "cpu" if device.type == "cpu" else f"cuda-{torch.cuda.get_device_properties(device).uuid}"


def processor_name() -> str:
    """The processor's model, such as `AMD EPYC 9B14`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
