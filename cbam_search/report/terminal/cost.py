"""What an architecture costs, for people: the papers' figures, all operators, and what attention adds at each site."""

from __future__ import annotations

from collections.abc import Sequence

from cbam_search.cost.attribution import PARTS, SiteCost
from cbam_search.cost.cost import Cost
from cbam_search.report.wording import table

_PARTS = (*PARTS, "gate")


def cost_text(title: str, cost: Cost) -> str:
    """Plain lines under a title."""
    lines = [
        title,
        f"  {cost.gflops:.6g} GFLOPs (1e9 multiply-adds of convolutions and linear layers, as papers count)",
        f"  {cost.params:,} parameters",
        f"  {cost.operations:.6g} e9 operations of every kind:",
        *(f"    {operator:24s} {count:.6g}" for operator, count in cost.by_operator.items()),
    ]
    if cost.unknown:
        named = ", ".join(f"{name} ({times} times)" for name, times in cost.unknown.items())
        lines.append(f"  not counted, since it is not known what they take: {named}")
    return "\n".join(lines)


def attribution_text(rows: Sequence[SiteCost]) -> str:
    """A table with one row a site, and their sums; `no attention anywhere` where there is none."""
    if not rows:
        return "no attention anywhere"
    head = ("site", "attention", "C x H x W", "parameters", "multiply-adds", *_PARTS)
    body = [
        (
            row.site.name,
            row.spec.kind,
            " x ".join(map(str, (row.site.channels, *row.map_size))),
            f"{row.params:,}",
            f"{row.macs:,}",
            *(f"{row.parts[part]:,}" for part in _PARTS),
        )
        for row in rows
    ]
    sums = (
        sum(row.params for row in rows),
        sum(row.macs for row in rows),
        *(sum(r.parts[part] for r in rows) for part in _PARTS),
    )
    total = ("all", "", "", *(f"{value:,}" for value in sums))
    return "\n".join(
        [
            "what attention adds, by site; pooling in entries read, mlp and convolution in multiply-adds, gate (norms,",
            "activations, the product with the map) in operations:",
            *table(head, [*body, total], names=2),
        ]
    )
