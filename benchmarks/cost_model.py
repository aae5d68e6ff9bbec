"""How long the composed cost of an architecture takes once its parts are known, beside fvcore over the whole network.

    python benchmarks/cost_model.py --output benchmarks/results/cost_model.txt

Random architectures of a few spaces with every kind and position, each distinct one of a backbone equally likely. Both ways
must agree: the script fails where they differ by a single multiply-add or parameter.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, Architecture
from cbam_search.cost.cost import Cost, measure
from cbam_search.cost.model import CostModel
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.environment import hardware, versions

ATTENTION = {
    "kind": ["none", *ATTENTION_KINDS],
    "reduction_ratio": [4, 8, 16],
    "pools": {"from": ["avg", "max", "lp", "lse"], "at_least": 1, "at_most": 2},
    "spatial_kernel_size": ["none", 3, 7],
}
SPACES = (
    ("cifar_resnet", [20, 32], 32, 10),
    ("cifar_resnet", [110], 32, 10),
    ("resnet", [18, 50], 224, 1000),
    ("resnet", [152], 224, 1000),
    ("resnext", [50, 101], 224, 1000),
    ("mobilenet", [28], 224, 1000),
)


def main() -> None:
    options = argparse.ArgumentParser(description="Composed costs beside whole-model fvcore.")
    options.add_argument("--architectures", type=int, default=200, help="composed costs a space")
    options.add_argument("--whole", type=int, default=8, help="whole-model passes a space, on the first of these")
    options.add_argument("--output", type=Path, help="file for what is printed, too")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    lines = [*_heading(), *(_line(*space, chosen.architectures, chosen.whole) for space in SPACES)]
    print("\n".join(lines))
    if chosen.output:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _heading() -> list[str]:
    shown = {name: number for name, number in versions().items() if name in ("python", "torch", "fvcore", "cbam-search")}
    return [
        f"command: python {' '.join(sys.argv)}",
        f"hardware: {hardware()}; torch with 1 thread",
        f"versions: {json.dumps(shown)}",
        "ms an architecture: median (quartiles); composed once warm, of architectures built afresh; whole: one traced pass",
        f"{'space':30s} {'n':>5s} {'composed, ms':>28s} {'n':>4s} {'whole, ms':>26s} {'ratio':>7s}",
    ]


def _line(family: str, depths: list[int], size: int, classes: int, composed: int, whole: int) -> str:
    backbone = BackboneConfig.model_validate({"family": family, "depth": depths})
    attention = AttentionConfig.model_validate(ATTENTION | {"position": list(FAMILIES[family].positions)})
    architectures = _draw(Space(backbone, attention, in_channels=3, classes=classes), composed)
    model = CostModel((size, size))
    for architecture in architectures:
        model.cost(architecture)
    # Read back, so that nothing an architecture remembers of itself is counted as known.
    afresh = [Architecture.model_validate_json(architecture.model_dump_json()) for architecture in architectures]
    sums, composed_ms = _timed(model.cost, afresh)
    traced, whole_ms = _timed(lambda architecture: measure(architecture, (size, size)), afresh[:whole])
    if sums[:whole] != traced:
        sys.exit(f"{family} {depths}: the composed cost differs from fvcore's over the whole network")
    ratio = statistics.median(whole_ms) / statistics.median(composed_ms)
    name = f"{family} {', '.join(map(str, depths))} at {size}"
    return f"{name:30s} {composed:5d} {_spread(composed_ms):>28s} {whole:4d} {_spread(whole_ms):>26s} {ratio:7,.0f}"


def _draw(space: Space, number: int) -> list[Architecture]:
    draw = random.Random(0)
    found = []
    for _ in range(number):
        backbone = draw.choice(space.backbones)
        found.append(space.with_options(backbone, {unit: draw.choice(own) for unit, own in space.options(backbone).items()}))
    return found


def _timed(cost: Callable[[Architecture], Cost], architectures: Sequence[Architecture]) -> tuple[list[Cost], list[float]]:
    """Costs, and the milliseconds that each took."""
    costs, milliseconds = [], []
    for architecture in architectures:
        start = time.perf_counter()
        costs.append(cost(architecture))
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return costs, milliseconds


def _spread(milliseconds: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(milliseconds, n=4)
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


if __name__ == "__main__":
    main()
