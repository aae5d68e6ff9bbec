"""How much attention changes the outputs of trained weights when it starts: python benchmarks/pretrained_start.py

Relative difference of the logits, with the constants of attention taken off and without, for every kind at every position. The
figures of docs/pretrained.md are the largest of the former, and some of the latter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, Architecture, Backbone
from cbam_search.attention.registry import ATTENTION_MODULES, start_as_identity
from cbam_search.backbones.builder import build
from cbam_search.backbones.pretrained import build_pretrained

NAMES = ("resnet18", "resnet50", "mobilenet_1.0", "cifar_resnet20", "cifar_resnet56")
SIZE = 64


def as_trained(backbone: Backbone) -> nn.Module:
    """A bare network whose batch norms have random weights, and the statistics of random images."""
    torch.manual_seed(0)
    network = build(Architecture(backbone=backbone))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1.2)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None
    network(torch.randn(16, backbone.in_channels, SIZE, SIZE))
    return network.eval()


def without_compensation(architecture: Architecture, weights: dict[str, Tensor]) -> nn.Module:
    """Weights and attention that starts as its input times a constant, and nothing that takes it off."""
    network = build(architecture)
    network.load_state_dict(weights, strict=False)
    kinds = {ATTENTION_MODULES[kind] for kind in ATTENTION_MODULES}
    for module in network.modules():
        if type(module) in kinds:
            start_as_identity(module)
    return network.eval()


def difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@torch.no_grad()
def main() -> None:
    print(f"python benchmarks/pretrained_start.py; torch {torch.__version__}, CPU, {torch.get_num_threads()} thread(s)")
    print("backbone position kind: difference with the constants taken off; without")
    for name in NAMES:
        backbone = Architecture.named(name, classes=10).backbone
        assert isinstance(backbone, Backbone)
        bare = as_trained(backbone)
        weights = bare.state_dict()
        images = torch.randn(4, backbone.in_channels, SIZE, SIZE)
        expected = bare(images)
        largest = 0.0
        for position in FAMILIES[backbone.family].positions:
            for kind in ATTENTION_KINDS:
                spec = ATTENTION_KINDS[kind].model_validate({"kind": kind})
                sites = [site for site in backbone.sites if position in site.positions]
                architecture = Architecture(backbone=backbone, attention={site.name: spec for site in sites})
                left = difference(build_pretrained(architecture, weights).eval()(images), expected)
                without = difference(without_compensation(architecture, weights)(images), expected)
                largest = max(largest, left)
                print(f"{name} {position} {kind}: {left:.1e}; {without:.3f}")
        print(f"{name}: at most {largest:.1e}")


if __name__ == "__main__":
    main()
