"""Ray itself: started here or joined, and what one trial may take of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import ray

from cbam_search.home import home_given
from cbam_search.running.config import ResourcesConfig, cores_here
from cbam_search.running.ray_job import messages_to_log
from cbam_search.running.ray_start import joined_address, ray_joined, ray_started


@dataclass(frozen=True)
class TrialResources:
    """What one trial gets. concurrent: how many fit at once now. inline: whether they run in this process, without Ray."""

    cpus: float
    gpus: float
    concurrent: int
    max_concurrent: int | None
    inline: bool = False


@contextmanager
def cluster_running(config: ResourcesConfig, *, verbose: bool) -> Iterator[TrialResources]:
    """Where trials run, ready for them, and what one takes of it; raises ResourceError when not even one fits."""
    if config.executor == "inline":
        yield resources_here(config)
        return
    with ray_running(config, verbose=verbose):
        yield trial_resources(config)


@contextmanager
def ray_running(config: ResourcesConfig, *, verbose: bool) -> Iterator[None]:
    """Join the cluster at the configured address, or run Ray on this machine; one that runs already is left running.

    Raises ResourceError: for a cluster within 20 s, for Ray on this machine within a minute or so.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = joined_address(config.address)
    started = ray_joined(config.address, verbose=verbose) if address else ray_started(verbose=verbose)
    with home_given(), started, nullcontext() if verbose else messages_to_log():
        yield


def trial_resources(config: ResourcesConfig) -> TrialResources:
    """What one trial takes of the running Ray; raises ResourceError when not even one fits."""
    available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return _fitting(config, available.get("CPU", 0.0), available.get("GPU", 0.0), of="Ray")


def resources_here(config: ResourcesConfig) -> TrialResources:
    """What one trial takes of this machine, where they run in this process, one at a time."""
    import torch

    return _fitting(config, float(cores_here()), float(torch.cuda.device_count()), of="this machine")


def _fitting(config: ResourcesConfig, cpus: float, gpus: float, *, of: str) -> TrialResources:
    concurrent = config.trials_at_once(cpus, gpus, of=of)
    inline = config.executor == "inline"
    return TrialResources(config.cpus_per_trial, config.gpus_of_a_trial(gpus), concurrent, config.max_concurrent, inline)
