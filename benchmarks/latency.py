"""How well latencies repeat on a machine whose speed changes: timed in turn with a reference network, beside timed alone.

    python benchmarks/latency.py --output benchmarks/results/latency.txt

Every network is measured many times over, in turn with the others, while another process makes the processor busy for a few
seconds and leaves it alone for a few. `alone` is the median of as many passes without a reference network. How far the
figures of one network lie apart is (largest - smallest) / median, over all rounds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from cbam_search.architecture import Architecture
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import devices_of_a_trial
from cbam_search.cost.latency import LatencyBench, LatencySetting
from cbam_search.study.environment import hardware, versions

NAMES = ("cifar_resnet20", "cifar_resnet20+se", "cifar_resnet20+cbam", "cifar_resnet32_0.5")
BUSY_SECONDS = 4.0


class Alone(LatencyBench):
    """The same passes, and none of the reference network between them."""

    def milliseconds(self, architecture: Architecture) -> float:
        network, images = self._laid_out(architecture), self._images()
        self._warm_up([network], images)
        return 1e3 * statistics.median(self._seconds(network, images) for _ in range(self._setting.pairs))


def main() -> None:
    options = argparse.ArgumentParser(description="Latencies in turn with a reference network, beside alone.")
    options.add_argument("--rounds", type=int, default=12, help="measurements of each network")
    options.add_argument("--size", type=int, default=32, help="height and width of the images")
    options.add_argument("--output", type=Path, help="file for what is printed, too")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    load = multiprocessing.get_context("spawn").Process(target=_busy_by_turns, daemon=True)
    load.start()
    try:
        lines = list(_lines(chosen.rounds, chosen.size))
    finally:
        load.kill()
    print("\n".join(lines))
    if chosen.output:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(rounds: int, size: int) -> Sequence[str]:
    device = devices_of_a_trial(on_gpu=False)[0]
    setting = LatencySetting.of(LatencyConfig(device="cpu"), device, channels=3, image_size=(size, size), threads=1)
    bench, alone = LatencyBench(setting), Alone(setting)
    nominal_ms = bench.nominal_ms()
    networks = [Architecture.named(name, in_channels=3, classes=10) for name in NAMES]
    in_turn: dict[str, list[float]] = {name: [] for name in NAMES}
    by_itself: dict[str, list[float]] = {name: [] for name in NAMES}
    spreads: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        for network in networks:
            ratio = bench.ratio(network)
            in_turn[network.label].append(ratio.median * nominal_ms)
            spreads[network.label].append(ratio.half_iqr / ratio.median)
            by_itself[network.label].append(alone.milliseconds(network))
    shown = {name: number for name, number in versions().items() if name in ("python", "torch", "cbam-search")}
    head = f"{'network':22s} {'ms':>7s} {'spread':>7s} {'in turn':>8s} {'alone':>7s}"
    rows = [_row(name, in_turn[name], by_itself[name], statistics.median(spreads[name])) for name in NAMES]
    about = (
        f"{rounds} rounds, {size} x {size}, batch 1, float32, {setting.pairs} pairs, one thread, a neighbour busy every other "
    )
    return [f"{hardware()}; {json.dumps(shown)}", f"{about}{BUSY_SECONDS:g} s", "apart, over all rounds:", head, *rows]


def _row(name: str, in_turn: Sequence[float], alone: Sequence[float], spread: float) -> str:
    return f"{name:22s} {statistics.median(in_turn):7.3f} {spread:7.1%} {_apart(in_turn):8.1%} {_apart(alone):7.1%}"


def _apart(figures: Sequence[float]) -> float:
    return (max(figures) - min(figures)) / statistics.median(figures)


def _busy_by_turns() -> None:
    torch.set_num_threads(2)
    matrix = torch.rand(1500, 1500)
    while True:
        end = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < end:
            matrix @ matrix
        time.sleep(BUSY_SECONDS)


if __name__ == "__main__":
    main()
