"""The CBAM paper's tables, published figures beside those computed here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cbam_search.cost.cost import Cost
from cbam_search.cost.paper_tables import PaperRow
from cbam_search.report.wording import table

CONVENTIONS = """Conventions: 224 x 224 pixels, 1000 classes; 1 GFLOP is 1e9 multiply-adds of convolutions and linear layers;
bottlenecks carry their stride on the first 1x1 convolution; widened networks keep a 64-channel stem; attention sits after
the last batch norm of each residual branch, in MobileNet after every batch norm, before the ReLU; r = 16, hidden width
C // 16, biases in the MLP; 7x7 spatial convolution without bias, then batch norm; MobileNet's channels are
int(width * channels). Errors (percent) are the paper's, not computed here."""


@dataclass(frozen=True)
class ComparedRow:
    """A published row, and the cost computed for the same network."""

    published: PaperRow
    cost: Cost

    @property
    def params_agree(self) -> bool:
        return f"{self.cost.params / 1e6:.2f}" == f"{self.published.params_m:.2f}"

    @property
    def gflops_agree(self) -> bool:
        return f"{self.cost.gflops:.3f}" == f"{self.published.gflops:.3f}"


def paper_tables_text(rows: Iterable[ComparedRow]) -> str:
    """A table with one row a network; a figure that differs in its last printed digit is marked."""
    rows = list(rows)
    head = ("model", "params (M)", "computed", "GFLOPs", "computed", "top-1 error", "top-5 error")
    body = [
        (
            row.published.model,
            f"{row.published.params_m:.2f}",
            f"{row.cost.params / 1e6:.6f}{' ' if row.params_agree else '*'}",
            f"{row.published.gflops:.3f}",
            f"{row.cost.gflops:.6f}{' ' if row.gflops_agree else '*'}",
            f"{row.published.top1_error:.2f}",
            f"{row.published.top5_error:.2f}",
        )
        for row in rows
    ]
    differing = [row for row in rows if not (row.params_agree and row.gflops_agree)]
    lines = [*table(head, body), ""]
    lines.append(
        f"{len(rows)} rows: parameters agree to the last printed digit in {sum(row.params_agree for row in rows)}, "
        f"GFLOPs in {sum(row.gflops_agree for row in rows)}."
    )
    lines += [_difference(row) for row in differing]
    return "\n".join([*lines, CONVENTIONS])


def _difference(row: ComparedRow) -> str:
    published, cost = row.published, row.cost
    return (
        f"* {published.model}: {cost.params / 1e6:.6f} M parameters against {published.params_m:.2f} M published, "
        f"{cost.gflops:.6f} GFLOPs against {published.gflops:.3f}."
    )
