"""How each objective is shown: its title with units, and the scale and digits of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cbam_search.cost.config import LATENCY


@dataclass(frozen=True)
class Quantity:
    """title: of an axis, with units; scale: from the recorded value to the shown one.

    template: format of a shown value; by default four significant digits, never in powers of ten. unit: after a value in a
    sentence; it stands in parentheses in the title.
    """

    title: str
    scale: float = 1.0
    template: str | None = None
    unit: str = ""

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.removesuffix(f" ({self.unit})") if self.unit else self.title

    def shown(self, value: float) -> float:
        return value * self.scale

    def text(self, value: float) -> str:
        """A recorded value as the reader sees it."""
        return f"{self.bare(value)} {self.unit}" if self.unit else self.bare(value)

    def bare(self, value: float) -> str:
        """The same without its unit, for a column whose heading has it."""
        if self.template is None:
            return np.format_float_positional(self.shown(value), precision=4, fractional=False, trim="-")
        return self.template.format(self.shown(value))


_QUANTITIES = {
    "accuracy": Quantity("validation accuracy (%)", 100.0, "{:.2f}", "%"),
    "balanced_accuracy": Quantity("balanced validation accuracy (%)", 100.0, "{:.2f}", "%"),
    "macro_f1": Quantity("validation macro F1 (%)", 100.0, "{:.2f}", "%"),
    "gflops": Quantity("GFLOPs (1e9 multiply-adds)"),
    "params": Quantity("parameters", template="{:,.0f}"),
    LATENCY: Quantity("latency (ms)", unit="ms"),
}


def quantity(name: str) -> Quantity:
    """The quantity of this name; an unknown one is shown as it is."""
    return _QUANTITIES.get(name) or Quantity(name.replace("_", " "))
