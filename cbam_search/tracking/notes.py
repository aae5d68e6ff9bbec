"""Descriptions for the readers of MLflow's pages, in Markdown."""

from __future__ import annotations

from itertools import groupby

from cbam_search.architecture import Architecture, OwnBackbone
from cbam_search.architecture.attention_spec import AttentionSpec
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Candidate, Origin
from cbam_search.safe_text import markdown, shell_word

_LONGEST = 7500
"""MLflow keeps 8,000 characters of a description."""

_PROPOSED = {
    Origin.PUBLISHED: "a published design, trained with the same recipe as every candidate",
    Origin.SAMPLER: "proposed by the sampler",
    Origin.ENUMERATION: "found by enumerating what was left of the space",
    Origin.WARM_START: "taken from another study's front (`search.start_from`)",
}


def study_note(manifest: StudyManifest) -> str:
    """What the study asks, on which data, and where to look for the answer."""
    objectives = ", ".join(f"{objective.name} ({objective.direction})" for objective in manifest.objectives)
    data, height_width = manifest.data, "x".join(map(str, manifest.data.image_size))
    excluded = (
        f"\n- published designs that a constraint excludes: {', '.join(map(markdown, manifest.excluded))}"
        if manifest.excluded
        else ""
    )
    name = shell_word(manifest.name).replace("`", "'")
    latency = f"- latency_ms: one forward pass, {markdown(manifest.latency.text)}\n" if manifest.latency else ""
    return (
        f"**{markdown(manifest.name)}**: where does attention pay in this backbone, and at what cost? "
        f"Objectives: {objectives}. 1 GFLOP is 1e9 multiply-adds of convolutions and linear layers.\n\n"
        f"- the answer: `front.html` (interactive), `front.png`, `front_table.json` and `front.json` among the artifacts\n"
        f"- progress: metrics `hypervolume`, `front_size` and `best_*`, by number of trainings ended\n"
        f"- one nested run a training; those on the front have the tag `on_front = true`\n"
        f"- data: {data.train} training and {data.validation} validation images of {height_width}, "
        f"{len(data.class_names)} classes, fingerprint `{data.fingerprint[:16]}`; the test split is not touched by the search\n"
        f"{latency}- space: {manifest.distinct_architectures:,} distinct architectures; {manifest.trials_allowed} trainings of "
        f"{manifest.epochs} epochs were asked for{excluded}\n\n"
        f"The study's own records are the truth and this is a view of them: "
        f"`cbam-search front {name}` lists the front, `cbam-search export {name}` takes the best away."
    )[:_LONGEST]


def trial_note(number: int, candidate: Candidate) -> str:
    """What was trained, stage by stage; in the user's own network, site by site."""
    by = "site" if isinstance(candidate.architecture.backbone, OwnBackbone) else "stage"
    return (
        f"Trial {number}, **{markdown(candidate.label)}**: {_PROPOSED[candidate.origin]}. "
        f"{candidate.gflops:.4g} GFLOPs (1e9 multiply-adds), {candidate.params:,} parameters.\n\n"
        f"Attention, by {by}:\n\n{_placement(candidate.architecture)}"
    )[:_LONGEST]


def _placement(architecture: Architecture) -> str:
    if isinstance(architecture.backbone, OwnBackbone):
        return "\n".join(f"- {markdown(site.name)}: {_in_words(spec)}" for site, spec in architecture.placed) or "- none"
    stages = groupby(architecture.placed, key=lambda entry: entry[0].stage)
    lines = [
        f"- stage {stage}: {' · '.join(f'{site.name} {_in_words(spec)}' for site, spec in placed)}" for stage, placed in stages
    ]
    return "\n".join(lines) or "- none"


def _in_words(spec: AttentionSpec) -> str:
    settings = spec.model_dump(exclude={"kind"})
    words = [f"{name} {'+'.join(value) if isinstance(value, tuple) else value}" for name, value in settings.items()]
    return f"{spec.kind} ({', '.join(words)})" if words else spec.kind
