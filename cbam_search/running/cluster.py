"""Ray itself: started here or joined, and what one trial may take of it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import ray

from cbam_search.errors import ResourceError
from cbam_search.running.config import ResourcesConfig, cores_here
from cbam_search.running.executors.ray_job import JobOfInstalledCode, messages_to_log
from cbam_search.running.interruption import ignored


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
    """Join the cluster at the configured address, or run Ray on this machine; one that runs already is left running."""
    if ray.is_initialized():
        yield
        return
    address = config.address or os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise ResourceError(
            f"{address} is an address for Ray Client, which leads through another machine; the study's folder is to be written "
            f"on this one. Launch on a node of the cluster, with `address: auto`"
        )
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        # A terminal that is closed sends SIGHUP to Ray's processes too, whose trainings are to end as the driver says.
        with ignored(signal.SIGHUP):
            ray.init(
                address=config.address,
                include_dashboard=False if _is_local(config) else None,
                log_to_driver=verbose,
                logging_level=logging.INFO if verbose else logging.ERROR,
                configure_logging=True,
                job_config=JobOfInstalledCode(),
            )
    except (ConnectionError, ValueError) as error:
        raise ResourceError(f"no Ray cluster answers at {address}: {error}") from None
    try:
        with nullcontext() if verbose else messages_to_log():
            yield
    finally:
        ray.shutdown()


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


def _is_local(config: ResourcesConfig) -> bool:
    return config.address is None and "RAY_ADDRESS" not in os.environ
