"""What a network costs, known exactly before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

from torch import nn

from cbam_search.architecture import Architecture, OwnBackbone
from cbam_search.backbones.builder import build
from cbam_search.backbones.shapes_only import shapes_only
from cbam_search.cost.counting import count_operations
from cbam_search.cost.handles import CONVOLUTION, LINEAR
from cbam_search.own_code import NO_CODE, CodePermission

GIGA = 1e9


@dataclass(frozen=True)
class Cost:
    """One forward pass over one image.

    gflops: 1e9 multiply-adds of convolutions and linear layers alone, as papers count. macs: the same, as an exact integer.
    params: learned parameters. by_operator: every operator counted, in 1e9 operations, the largest first. unknown: operators
    that nothing is counted for, and how often they come; empty for every family and kind of this package.
    """

    gflops: float
    macs: int
    params: int
    by_operator: dict[str, float]
    unknown: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, operations: Mapping[str, int], params: int, unknown: Mapping[str, int]) -> Cost:
        macs = operations.get(CONVOLUTION, 0) + operations.get(LINEAR, 0)
        largest_first = sorted(operations.items(), key=lambda item: (-item[1], item[0]))
        by_operator = {operator: count / GIGA for operator, count in largest_first}
        return cls(macs / GIGA, macs, params, by_operator, dict(sorted(unknown.items())))

    @property
    def operations(self) -> float:
        """All operators counted, in 1e9."""
        return sum(self.by_operator.values())


CostFunction = Callable[[Architecture], Cost]


def measure(architecture: Architecture, image_size: tuple[int, int], *, code: CodePermission = NO_CODE) -> Cost:
    """Trace the whole network once at image_size (height, width); 0.1 to 2 s. `CostModel` gives the same in well under 1 ms.

    code: as for `build`, whose errors are raised.
    """
    # The user's own function may read values of its weights, which the meta device has not got.
    with nullcontext() if isinstance(architecture.backbone, OwnBackbone) else shapes_only():
        network = build(architecture, code=code)
    operations = count_operations(network, (1, architecture.backbone.in_channels, *image_size))
    return Cost.of(operations.counts, count_params(network), operations.unknown)


def count_params(module: nn.Module) -> int:
    """Learned parameters of `module`."""
    return sum(parameter.numel() for parameter in module.parameters())
