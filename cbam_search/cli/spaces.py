"""Commands about spaces and architectures, before anything is trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cbam_search.cli.say import say

SpaceArgument = Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="The study's YAML file.")]


def validate(space: SpaceArgument) -> None:
    """Check a YAML file without loading data or starting anything."""
    from cbam_search.counted import counted
    from cbam_search.own_source import check_defined
    from cbam_search.space.own_config import OwnBackboneConfig
    from cbam_search.study.config import read_study_config
    from cbam_search.study.space_from_config import untraced_space

    config, _ = read_study_config(space)
    searched, own = untraced_space(config), config.backbone if isinstance(config.backbone, OwnBackboneConfig) else None
    if own:
        check_defined(own.module, Path.cwd())
    sampler = config.search.sampler_for(config.objectives)
    many = f"{len(own.sites)} sites" if own else f"{searched.count():,} distinct architectures"
    say(
        f"{space} is valid: study '{config.name}', {many} in {counted(len(searched.parameters), 'parameter')}, "
        f"{counted(config.search.trials, 'trial')} of {counted(config.training.epochs, 'epoch')}, sampler {sampler}"
    )
    if own:
        say(f"{own.module} was found but not run: `plan --allow-code` checks whether it has these sites")


def schema() -> None:
    """Print the JSON schema of the YAML, from which editors complete."""
    from cbam_search.study.config import StudyConfig

    typer.echo(json.dumps(StudyConfig.model_json_schema(by_alias=True), indent=2))


def cost(
    architecture: Annotated[str, typer.Argument(help="A published name, such as resnet50+cbam.")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Height and width of the input, in pixels; default 224, or 32 for CIFAR networks.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Number of classes; default 1000, or 10 for CIFAR networks.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Input channels.")] = 3,
    by_site: Annotated[
        bool, typer.Option("--by-site", help="What attention adds at each site: pooling, MLP, convolution, gate.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a published design costs: GFLOPs, parameters, the count by operator, and what attention adds where."""
    from cbam_search.architecture import Architecture
    from cbam_search.cost.attribution import attribute
    from cbam_search.cost.cost import measure
    from cbam_search.cost.model import CostModel
    from cbam_search.report.terminal.cost import attribution_text, cost_text

    for_cifar = architecture.startswith("cifar_")
    size = image_size or (32 if for_cifar else 224)
    named = Architecture.named(architecture, in_channels=channels, classes=classes or (10 if for_cifar else 1000))
    measured = measure(named, (size, size))
    sites = attribute(named, CostModel((size, size))) if by_site else ()
    if as_json:
        figures = {name: value for name, value in asdict(measured).items() if name != "macs"}
        by_name = {"sites": [asdict(row) | {"site": row.site.name, "spec": row.spec.model_dump(mode="json")} for row in sites]}
        typer.echo(json.dumps({"architecture": architecture, **figures, **(by_name if by_site else {})}))
        return
    say(cost_text(f"{architecture} at {size} x {size}, {named.backbone.classes} classes", measured))
    if by_site:
        say(attribution_text(sites))


def tables(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the CBAM paper's tables, published parameters and GFLOPs beside those computed here."""
    from cbam_search.architecture import Architecture
    from cbam_search.cost.model import CostModel
    from cbam_search.cost.paper_tables import PAPER_ROWS
    from cbam_search.report.terminal.paper_tables import ComparedRow, paper_tables_text

    model = CostModel((224, 224))
    rows = [ComparedRow(row, model.cost(Architecture.named(row.model))) for row in PAPER_ROWS]
    if as_json:
        computed = [{"computed_params": row.cost.params, "computed_gflops": row.cost.gflops} for row in rows]
        typer.echo(json.dumps([asdict(row.published) | found for row, found in zip(rows, computed, strict=True)]))
    else:
        say(paper_tables_text(rows))
