"""Which device latencies are measured on: asked of every node that could run a trial, before anything is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cbam_search.cost.device import Device, device_meant, devices_of_a_trial
from cbam_search.errors import ResourceError
from cbam_search.running.cluster import TrialResources

ANSWER_WITHIN_SECONDS = 120.0
_SLIVER = 0.01
"""Of a GPU, so that Ray shows it to the task: enough to read its name."""


def latency_device(named: str, resources: TrialResources) -> Device:
    """The type of device that the YAML's `latency.device` names and every node has; raises ResourceError."""
    return agreed_device(named, devices_of_nodes(resources), on_gpu=resources.gpus > 0)


def gpu_models(resources: TrialResources) -> str:
    """The models of GPU that trials may get, by name, ` + ` between them where nodes differ; raises ResourceError."""
    devices = (device for devices in devices_of_nodes(resources).values() for device in devices)
    return " + ".join(sorted({device.name for device in devices if device.kind == "cuda"}))


def devices_of_nodes(resources: TrialResources) -> dict[str, tuple[Device, ...]]:
    """By node, what a trial there could measure on; nodes too small for a trial are left out. Raises ResourceError."""
    if resources.inline:
        return {"this machine": _devices(resources.gpus > 0)}
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    able = [node for node in nodes if node["Alive"] and _could_run(node["Resources"], resources)]
    on_gpu = resources.gpus > 0
    ask = ray.remote(num_cpus=0, num_gpus=min(_SLIVER, resources.gpus), max_retries=1)(_devices)
    answers = {
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})": ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(on_gpu)
        for node in able
    }
    try:
        return dict(zip(answers, ray.get(list(answers.values()), timeout=ANSWER_WITHIN_SECONDS), strict=True))
    except GetTimeoutError:
        done, _ = ray.wait(list(answers.values()), num_returns=len(answers), timeout=0)
        silent = [name for name, answer in answers.items() if answer not in done]
        raise ResourceError(
            f"every node must say which device it has, and {', '.join(silent)} did not answer within "
            f"{ANSWER_WITHIN_SECONDS:g} s. Are its GPUs all taken? Wait for them, or take it out of the cluster"
        ) from None


def agreed_device(named: str, nodes: Mapping[str, tuple[Device, ...]], *, on_gpu: bool) -> Device:
    """The one that all nodes have; raises ResourceError, saying which node has what."""
    meant = {node: device_meant(named, devices) for node, devices in nodes.items()}
    having = ", ".join(f"{node} has {_names(devices)}" for node, devices in nodes.items())
    if not meant:
        raise ResourceError("no node of the cluster is large enough for a trial, so that latencies could not be measured")
    if None in meant.values():
        trials = "" if on_gpu else " Trials have no GPU here (resources.gpus_per_trial), so that none can be measured."
        raise ResourceError(
            f"latency.device is '{named}', and {having}.{trials} Name a device that every node has (cpu, cuda, or part of a "
            f"name), or launch where there is one"
        )
    by_device: dict[Device, list[str]] = defaultdict(list)
    for node, device in meant.items():
        assert device is not None
        by_device[device].append(node)
    if len(by_device) > 1:
        kinds = "; ".join(f"{device.name} on {', '.join(where)}" for device, where in by_device.items())
        raise ResourceError(
            f"latency.device is '{named}', which means different devices in this cluster, whose latencies do not compare: "
            f"{kinds}. Name one of them in full and launch on nodes that have it"
        )
    return next(iter(by_device))


def _devices(on_gpu: bool) -> tuple[Device, ...]:
    return devices_of_a_trial(on_gpu=on_gpu)


def _could_run(node: Mapping[str, float], resources: TrialResources) -> bool:
    return node.get("CPU", 0.0) >= resources.cpus and node.get("GPU", 0.0) >= resources.gpus


def _names(devices: tuple[Device, ...]) -> str:
    return " and ".join(device.name for device in devices)
