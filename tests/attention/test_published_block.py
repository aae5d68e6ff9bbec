"""The blocks against outputs and gradients of the CBAM authors' published code (see fixtures/cbam_blocks.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cbam_search.attention.cbam import CBAM
from cbam_search.attention.se import SE

FIXTURES = Path(__file__).parent / "fixtures"
CASES = json.loads((FIXTURES / "cbam_blocks.json").read_text())["cases"]
TENSORS = load_file(FIXTURES / "cbam_blocks.safetensors")
OUR_NAMES = {
    "ChannelGate.mlp.1": "channel_gate.mlp.0",
    "ChannelGate.mlp.3": "channel_gate.mlp.2",
    "SpatialGate.spatial": "spatial_gate",
}


def our_name(name: str) -> str:
    for theirs, ours in OUR_NAMES.items():
        name = name.replace(theirs, ours)
    return name


def tensors_of(case: str, prefix: str) -> dict[str, torch.Tensor]:
    start = f"{case}.{prefix}."
    return {our_name(name.removeprefix(start)): value for name, value in TENSORS.items() if name.startswith(start)}


def block(case: dict) -> CBAM:
    module = CBAM(case["channels"], case["reduction_ratio"], tuple(case["pools"]), case["spatial_kernel_size"])
    missing, unexpected = module.load_state_dict(tensors_of(case["case"], "state"), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return module


def input_of(case: dict, memory_format: torch.memory_format) -> torch.Tensor:
    return TENSORS[f"{case['case']}.x"].clone(memory_format=memory_format)


def assert_close(found: torch.Tensor, expected: torch.Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
class TestAgainstTheAuthors:
    def test_output_in_eval_and_train_mode(self, case, memory_format):
        x = input_of(case, memory_format)
        for mode in ("eval", "train"):
            for grad in (False, True):
                module = block(case).train(mode == "train")
                with torch.set_grad_enabled(grad):
                    y = module(x.clone().requires_grad_(grad))
                assert_close(y.detach(), TENSORS[f"{case['case']}.y_{mode}"], 1e-5)

    def test_gradients_in_eval_mode(self, case, memory_format):
        x = input_of(case, memory_format).requires_grad_()
        module = block(case).eval()
        module(x).square().sum().backward()
        expected = tensors_of(case["case"], "grad_eval") | {"x": TENSORS[f"{case['case']}.grad_x_eval"]}
        found = {name: parameter.grad for name, parameter in module.named_parameters()} | {"x": x.grad}
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert_close(found[name], gradient, 1e-5 * gradient.abs().max().item())


def test_se_is_the_published_channel_gate_with_average_pooling():
    case = next(case for case in CASES if case["pools"] == ["avg"] and not case["spatial"])
    module = SE(case["channels"], case["reduction_ratio"]).eval()
    state = tensors_of(case["case"], "state")
    module.load_state_dict({name.removeprefix("channel_gate."): value for name, value in state.items()})
    assert_close(module(TENSORS[f"{case['case']}.x"]).detach(), TENSORS[f"{case['case']}.y_eval"], 1e-5)
