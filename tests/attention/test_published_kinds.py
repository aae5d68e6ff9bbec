"""ECA, BAM, Global Context and Coordinate Attention against the papers' equations, written out pixel by pixel.

The equations are written with every bias that the papers and the authors' code have, those before a normalisation too,
which the modules leave out: they change nothing.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from cbam_search.architecture import Architecture
from cbam_search.attention.bam import BAM
from cbam_search.attention.coordinate import CoordinateAttention
from cbam_search.attention.eca import ECA
from cbam_search.attention.global_context import GlobalContext
from cbam_search.cost.cost import count_params
from cbam_search.cost.model import CostModel

SIZES = [(1, 1), (1, 4), (5, 1), (4, 3)]
CHANNELS = [1, 2, 3, 10]


def randomised(module: nn.Module) -> nn.Module:
    """In float64, with parameters and statistics away from their first values."""
    torch.manual_seed(0)
    module = module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    return module


def batch_norm(z: Tensor, norm: nn.Module, training: bool) -> Tensor:
    """z: (N, C, ...), over all but the channels."""
    view = (1, -1) + (1,) * (z.dim() - 2)
    dims = [dim for dim in range(z.dim()) if dim != 1]
    mean = z.mean(dims) if training else norm.running_mean
    variance = z.var(dims, unbiased=False) if training else norm.running_var
    normal = (z - mean.view(view)) / (variance.view(view) + norm.eps).sqrt()
    return normal * norm.weight.view(view) + norm.bias.view(view)


def sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-z))


def eca(x: Tensor, module: ECA, training: bool) -> Tensor:
    """Equation 9: a channel's weight from the k channels around it, as many as there are."""
    taps = module.conv.weight.flatten()
    y = [x[:, channel].mean((1, 2)) for channel in range(x.shape[1])]
    gates = []
    for channel in range(len(y)):
        near = [(tap, channel + tap - len(taps) // 2) for tap in range(len(taps))]
        gates.append(sigmoid(sum(taps[tap] * y[other] for tap, other in near if 0 <= other < len(y))))
    return torch.stack([x[:, channel] * gate[:, None, None] for channel, gate in enumerate(gates)], 1)


def dilated(z: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 3x3 convolution, tap by tap, on a map with zeros around it."""
    step, (height, width) = conv.dilation[0], z.shape[2:]
    around = z.new_zeros(*z.shape[:2], height + 2 * step, width + 2 * step)
    around[:, :, step : step + height, step : step + width] = z
    total = 0
    for i in range(3):
        for j in range(3):
            seen = around[:, :, i * step : i * step + height, j * step : j * step + width]
            total = total + torch.einsum("nchw,oc->nohw", seen, conv.weight[:, :, i, j])
    return total


def bam(x: Tensor, module: BAM, training: bool) -> Tensor:
    """Equations 1 to 5: x + x * sigmoid(M_c + M_s); each hidden layer with a bias, if batch norm is to take it off."""
    shift = 0.3 if training else 0.0
    squeeze, norm, _, excite = module.channel_branch
    hidden = batch_norm(torch.einsum("nchw,oc->no", x, squeeze.weight) / x[0, 0].numel() + shift, norm, training)
    channel = hidden.clamp(min=0) @ excite.weight.T + excite.bias
    reduce, norm_0, _, first, norm_1, _, second, norm_2, _, last = module.spatial_branch
    z = torch.einsum("nchw,oc->nohw", x, reduce.weight[:, :, 0, 0])
    z = batch_norm(z + shift, norm_0, training).clamp(min=0)
    z = batch_norm(dilated(z, first) + shift, norm_1, training).clamp(min=0)
    z = batch_norm(dilated(z, second) + shift, norm_2, training).clamp(min=0)
    spatial = torch.einsum("nchw,c->nhw", z, last.weight[0, :, 0, 0]) + last.bias
    y = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            gate = sigmoid(channel + spatial[:, None, i, j])
            y[:, :, i, j] = x[:, :, i, j] + x[:, :, i, j] * gate
    return y


def global_context(x: Tensor, module: GlobalContext, training: bool) -> Tensor:
    """Equation 5: z_i = x_i + W_v2 ReLU(LN(W_v1 sum_j exp(W_k x_j) / sum_m exp(W_k x_m) x_j)), with a bias in W_k."""
    squeeze, norm, _, excite = module.transform
    key = module.mask.weight[0, :, 0, 0]
    pixels = [x[:, :, i, j] for i in range(x.shape[2]) for j in range(x.shape[3])]
    energies = [torch.exp(pixel @ key + 0.3) for pixel in pixels]
    context = sum(pixel * energy[:, None] for pixel, energy in zip(pixels, energies, strict=True)) / sum(energies)[:, None]
    hidden = context @ squeeze.weight.T + squeeze.bias
    centred = hidden - hidden.mean(1, keepdim=True)
    normal = centred / (centred.square().mean(1, keepdim=True) + norm.eps).sqrt()
    added = (normal * norm.weight + norm.bias).clamp(min=0) @ excite.weight.T + excite.bias
    return x + added[:, :, None, None]


def coordinate(x: Tensor, module: CoordinateAttention, training: bool) -> Tensor:
    """Equations 4 to 9, a pixel at a time, with a bias in the shared F_1 if batch norm is to take it off."""
    squeeze, norm, _ = module.shared
    height, width = x.shape[2:]
    rows = [x[:, :, i].mean(2) for i in range(height)]
    columns = [x[:, :, :, j].mean(2) for j in range(width)]
    f = torch.stack([mean @ squeeze.weight[:, :, 0].T + (0.3 if training else 0.0) for mean in (*rows, *columns)], 2)
    f = batch_norm(f, norm, training)
    f = f * (f + 3).clamp(0, 6) / 6
    y = torch.empty_like(x)
    for i in range(height):
        for j in range(width):
            g_h = sigmoid(f[:, :, i] @ module.rows.weight[:, :, 0].T + module.rows.bias)
            g_w = sigmoid(f[:, :, height + j] @ module.columns.weight[:, :, 0].T + module.columns.bias)
            y[:, :, i, j] = x[:, :, i, j] * g_h * g_w
    return y


CASES = {
    "eca": (eca, ECA, {}),
    "eca 5": (eca, ECA, {"eca_kernel_size": 5}),
    "eca 9, wider than three channels": (eca, ECA, {"eca_kernel_size": 9}),
    "bam": (bam, BAM, {"reduction_ratio": 4}),
    "bam of dilation 1": (bam, BAM, {"dilation": 1}),
    "gc": (global_context, GlobalContext, {}),
    "gc of ratio 1": (global_context, GlobalContext, {"reduction_ratio": 1}),
    "coordinate": (coordinate, CoordinateAttention, {}),
    "coordinate of ratio 1": (coordinate, CoordinateAttention, {"reduction_ratio": 1}),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("equations", "module", "settings"), CASES.values(), ids=CASES)
def test_output_and_gradients_are_those_of_the_equations(equations, module, settings, channels, training, memory_format):
    for size in SIZES:
        built = randomised(module(channels, **settings)).train(training)
        x = 2 * torch.randn(3, channels, *size, dtype=torch.float64)
        x = x.contiguous(memory_format=memory_format).requires_grad_()
        inputs = [x, *built.parameters()]
        weights = torch.randn_like(x)
        expected = equations(x, built, training)
        expected_gradients = torch.autograd.grad((expected * weights).sum(), inputs)
        found = built(x)
        torch.testing.assert_close(found, expected)
        found_gradients = torch.autograd.grad((found * weights).sum(), inputs)
        torch.testing.assert_close(found_gradients, expected_gradients, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("channels", [2, 3, 8, 64])
@pytest.mark.parametrize("module", [ECA, BAM, GlobalContext, CoordinateAttention])
def test_every_parameter_counts_at_the_published_settings_however_few_the_channels(module, channels):
    built = randomised(module(channels))
    for norm in built.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            nn.init.ones_(norm.weight)
            nn.init.constant_(norm.bias, 0.3)  # so that no unit is always below zero
    x = 3 * torch.randn(16, channels, 9, 9, dtype=torch.float64)
    built(x).square().sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("channels", [1, 3, 31, 64, 100, 2048])
def test_parameters(channels):
    c = channels
    assert count_params(ECA(c, 3)) == min(3, 2 * c - 1)
    for ratio in (1, 16, 32):
        h = max(1, c // ratio)
        channel, spatial = c * h + 2 * h + h * c + c, c * h + 2 * h + 2 * (9 * h * h + 2 * h) + h + 1
        with torch.device("meta"):
            assert count_params(BAM(c, ratio)) == channel + spatial
            h = max(4, c // ratio)
            assert count_params(GlobalContext(c, ratio)) == c + (c * h + h) + 2 * h + (h * c + c)
            h = max(8, c // ratio)
            assert count_params(CoordinateAttention(c, ratio)) == c * h + 2 * h + 2 * (h * c + c)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 64, 127, 128, 129, 2047, 2048, 4096])
def test_adaptive_kernel_size_is_the_papers(channels):
    """The code in the paper's figure 3."""
    t = int(abs((math.log2(channels) + 1) / 2))
    published = t if t % 2 else t + 1
    assert ECA(channels).conv.kernel_size == (min(published, 2 * channels - 1),)


def test_global_context_starts_as_the_identity():
    x = torch.randn(2, 64, 5, 5)
    assert torch.equal(GlobalContext(64)(x), x)


def printed(params: int, macs: int) -> tuple[str, str]:
    """Millions of parameters and GFLOPs, with as many digits as the papers print."""
    return f"{params / 1e6:.2f}", f"{macs / 1e9:.2f}"


def test_published_cost_of_global_context_in_resnet50():
    """28.08 M parameters and 3.87 GFLOPs: at every block of all stages but the first."""
    everywhere = Architecture.named("resnet50+gc")
    attention = {site.name: spec for site, spec in everywhere.placed if site.stage}
    cost = CostModel((224, 224)).cost(Architecture(backbone=everywhere.backbone, attention=attention))
    assert printed(cost.params, cost.macs) == ("28.08", "3.87")


def test_published_cost_of_bam_in_resnet50():
    """25.92 M parameters and 3.94 GFLOPs: at the end of three stages, with the biases before batch norms left out here."""
    cost = CostModel((224, 224)).cost(Architecture.named("resnet50+bam"))
    biases = sum(4 * (channels // 16) for channels in (256, 512, 1024))
    assert printed(cost.params + biases, cost.macs) == ("25.92", "3.94")
