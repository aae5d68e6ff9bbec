"""Which device a study's latencies are for, and what is refused; asked of a real Ray node where marked slow."""

from __future__ import annotations

import pytest

from cbam_search.cost.device import Device, devices_of_a_trial
from cbam_search.errors import ResourceError
from cbam_search.running import nodes as nodes_module
from cbam_search.running.cluster import TrialResources, ray_running
from cbam_search.running.config import ResourcesConfig
from cbam_search.running.nodes import agreed_device, devices_of_nodes, gpu_models, latency_device

EPYC, XEON = Device("cpu", "AMD EPYC 9B14"), Device("cpu", "Intel Xeon 8481C")
H100, A100 = Device("cuda", "NVIDIA H100 80GB HBM3"), Device("cuda", "NVIDIA A100-SXM4-80GB")


def test_the_device_that_all_nodes_have() -> None:
    nodes = {"a": (H100, EPYC), "b": (H100, XEON)}
    assert agreed_device("cuda", nodes, on_gpu=True) == H100
    assert agreed_device("h100", nodes, on_gpu=True) == H100


def test_one_without_it_is_named_with_what_it_has() -> None:
    with pytest.raises(ResourceError, match=r"latency\.device is 'H100', and a has NVIDIA H100 .* and .*, b has NVIDIA A100"):
        agreed_device("H100", {"a": (H100, EPYC), "b": (A100, EPYC)}, on_gpu=True)


def test_a_gpu_s_latency_is_not_measured_by_trials_on_the_cpu() -> None:
    with pytest.raises(ResourceError, match=r"Trials have no GPU here \(resources\.gpus_per_trial\)"):
        agreed_device("cuda", {"a": (EPYC,)}, on_gpu=False)


def test_devices_that_differ_do_not_compare() -> None:
    with pytest.raises(ResourceError, match=r"do not compare: AMD EPYC 9B14 on a, c; Intel Xeon 8481C on b\."):
        agreed_device("cpu", {"a": (EPYC,), "b": (XEON,), "c": (EPYC,)}, on_gpu=False)


def test_no_node_at_all() -> None:
    with pytest.raises(ResourceError, match="no node of the cluster is large enough"):
        agreed_device("cpu", {}, on_gpu=False)


@pytest.mark.slow
def test_a_real_node_answers_and_small_ones_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    here = devices_of_a_trial(on_gpu=False)
    with ray_running(ResourcesConfig(), verbose=False):
        of_a_trial = TrialResources(cpus=1.0, gpus=0.0, concurrent=1, max_concurrent=None)
        assert list(devices_of_nodes(of_a_trial).values()) == [here]
        assert latency_device("cpu", of_a_trial) == here[0]
        assert devices_of_nodes(TrialResources(cpus=1e6, gpus=0.0, concurrent=1, max_concurrent=None)) == {}
        monkeypatch.setattr(nodes_module, "ANSWER_WITHIN_SECONDS", 0.0)
        with pytest.raises(ResourceError, match="did not answer within 0 s"):
            devices_of_nodes(of_a_trial)


def test_gpu_models_are_all_that_a_trial_may_get(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"a": (H100, EPYC), "b": (A100, EPYC), "c": (H100, XEON)}
    monkeypatch.setattr(nodes_module, "devices_of_nodes", lambda _resources: there)
    resources = TrialResources(cpus=1, gpus=1, concurrent=3, max_concurrent=None)
    assert gpu_models(resources) == "NVIDIA A100-SXM4-80GB + NVIDIA H100 80GB HBM3"


def test_inline_this_machine_is_asked_and_no_ray() -> None:
    resources = TrialResources(cpus=1.0, gpus=0.0, concurrent=1, max_concurrent=None, inline=True)
    assert devices_of_nodes(resources) == {"this machine": devices_of_a_trial(on_gpu=False)}
