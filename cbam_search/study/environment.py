"""What a study ran on and with: versions and hardware, for the records."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from cbam_search.cost.device import processor_name
from cbam_search.running.config import cores_here

PACKAGES = ("cbam-search", "torch", "optuna", "ray", "mlflow", "fvcore", "numpy", "datasets", "pydantic")


def versions() -> dict[str, str]:
    """Python's and the main packages' versions."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def hardware() -> str:
    """The driver's processor and GPUs: `8 cores of AMD EPYC 9B14; no GPU`."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{cores_here()} cores of {processor_name()}; {', '.join(gpus) or 'no GPU'}"
