from __future__ import annotations

import pytest
import torch

from cbam_search.cost.device import Device, device_meant, devices_of_a_trial, physical_id

GPU = Device("cuda", "NVIDIA H100 80GB HBM3")
CPU = Device("cpu", "AMD EPYC 9B14")


@pytest.mark.parametrize(
    ("named", "meant"),
    [("cpu", CPU), ("CPU", CPU), ("cuda", GPU), ("H100", GPU), ("h100 80gb", GPU), ("epyc", CPU), ("A100", None)],
)
def test_a_kind_or_part_of_a_name(named: str, meant: Device | None) -> None:
    assert device_meant(named, (GPU, CPU)) == meant


def test_a_trial_without_a_gpu_has_none_to_measure_on() -> None:
    assert device_meant("cuda", (CPU,)) is None
    assert [device.kind for device in devices_of_a_trial(on_gpu=False)] == ["cpu"]


def test_a_word_for_a_kind_is_not_looked_for_in_names() -> None:
    assert device_meant("cpu", (Device("cuda", "a GPU with a cpu inside"),)) is None


def test_a_host_has_one_processor() -> None:
    assert physical_id(torch.device("cpu")) == "cpu"


@pytest.mark.gpu
def test_a_gpu_goes_by_its_own_number() -> None:
    assert physical_id(torch.device("cuda")) == physical_id(torch.device("cuda", torch.cuda.current_device()))
