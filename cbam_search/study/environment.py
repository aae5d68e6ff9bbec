"""What a study ran on and with: versions and hardware, for the records."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("cbam-search", "torch", "optuna", "ray", "mlflow", "fvcore", "numpy", "datasets", "pydantic")


def versions() -> dict[str, str]:
    """Python's and the main packages' versions."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def hardware() -> str:
    """The driver's processor and GPUs, in words."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{os.cpu_count()} cores of {_processor()}; {', '.join(gpus) or 'no GPU'}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
