"""The front of a study as a table for people, with every published design beside it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cbam_search.counted import counted
from cbam_search.metrics import Measured, Metric, known_values, metric, names_of
from cbam_search.records.front import Front, point
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Origin, Trial, TrialState
from cbam_search.report.placement import placement_legend, placement_text
from cbam_search.report.replayed import replayed_text
from cbam_search.report.wording import heading, hypervolume_text, with_spread
from cbam_search.safe_text import presentable, printable

_UNBOUNDED = 1000
_ASCII_BOX = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def print_study_table(console: Console, manifest: StudyManifest, trials: Iterable[Trial], front: Front) -> None:
    """Print the table: fitted to a terminal, and at its full width in ASCII anywhere else."""
    trials = list(trials)
    if not console.is_terminal:
        table = study_table(manifest, trials, front, ascii_only=True)
        console.print(_unfolded(table), markup=False, highlight=False, soft_wrap=True)
        return
    ascii_only = not console.encoding.startswith("utf")
    table = study_table(manifest, trials, front, ascii_only=ascii_only)
    if console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum > console.width:
        table = study_table(manifest, trials, front, ascii_only=ascii_only, narrow=True)
    console.print(table)


def study_table(
    manifest: StudyManifest, trials: Iterable[Trial], front: Front, *, ascii_only: bool = False, narrow: bool = False
) -> Table:
    """The front from the cheap to the costly end, then published designs and members of a warm start that are not on it,
    excluded ones last.

    Accuracies carry their binomial standard error. narrow: names of published designs may take two lines.
    """
    trials = list(trials)
    versions = numerics_versions(trials)
    rows = _Rows(manifest, ascii_only, narrow, max(versions) if len(versions) > 1 else None)
    table = _empty_table(manifest, front, _caption(manifest, trials, ascii_only), ascii_only)
    for trial in front.members:
        table.add_row(*rows.of(trial, "yes"))
    table.add_section()
    members = set(front.numbers)
    beside = [trial for trial in trials if trial.was_trained and _is_shown(trial) and trial.number not in members]
    for trial in sorted(beside, key=lambda trial: _order(trial, manifest)):
        table.add_row(*rows.of(trial, "no" if trial.state is TrialState.COMPLETE else trial.state.value))
    trained = {trial.candidate.label for trial in (*beside, *front.members)}
    for label in manifest.published:
        if label not in trained:
            table.add_row(*rows.of_name(label, "not trained"))
    for label in manifest.excluded:
        table.add_row(*rows.of_name(label, "excluded"))
    return table


@dataclass(frozen=True)
class _Rows:
    manifest: StudyManifest
    ascii_only: bool
    narrow: bool
    newest_numerics: int | None

    def of(self, trial: Trial, standing: str) -> list[Text]:
        """Cells of a trial."""
        architecture = trial.candidate.architecture
        published = trial.is_published
        name = self._name(trial.candidate.label) if published else architecture.backbone.name
        number = f"{trial.number}{'*' if published else '^' if _is_warm(trial) else ' '}{self._other_numerics(trial)}"
        figures = [self._figure(name, trial) for name in _shown(self.manifest)]
        return [Text(presentable(cell)) for cell in (number, name, placement_text(architecture), *figures, standing)]

    def _other_numerics(self, trial: Trial) -> str:
        """A mark where the study has results of several numerics versions, and this is not of the newest."""
        if self.newest_numerics is None:
            return ""
        older = trial.outcome is not None and trial.outcome.numerics_version < self.newest_numerics
        return "!" if older else " "

    def of_name(self, label: str, standing: str) -> list[Text]:
        """Cells of a published design that has no trial."""
        figures = [""] * len(_shown(self.manifest))
        return [Text(presentable(cell)) for cell in ("*", self._name(label), "", *figures, standing)]

    def _name(self, label: str) -> str:
        return label.replace("+", "\n+") if self.narrow else label

    def _figure(self, name: str, trial: Trial) -> str:
        """A known cost of every trial, what was measured of all that were, and what was trained of complete ones."""
        entry = metric(name)
        if entry.source == "known":
            return entry.bare(known_values(trial.candidate)[name])
        found = trial.outcome.metrics.get(name) if trial.outcome else None
        if entry.source == "measured":
            return "" if found is None else self._with_spread(entry, found)
        if trial.values is None or name not in trial.values:
            return ""
        text, error = entry.bare(trial.values[name]), _error(trial, name)
        return text if error is None else f"{text} {_plus_minus(self.ascii_only)} {entry.shown(error):.2f}"

    def _with_spread(self, entry: Metric, found: Measured) -> str:
        if found.standard_error is None:
            return entry.bare(found.value)
        return with_spread(found.value, found.standard_error, _plus_minus(self.ascii_only))


def _error(trial: Trial, name: str) -> float | None:
    """The standard error of an objective that was trained, of a complete trial; None where there is none."""
    if trial.outcome is None or trial.values is None or metric(name).source != "trained" or name not in trial.outcome.metrics:
        return None
    return trial.outcome.metrics[name].standard_error


def _is_warm(trial: Trial) -> bool:
    return trial.candidate.origin is Origin.WARM_START


def _is_shown(trial: Trial) -> bool:
    """Whether it is worth a line even where it is not on the front."""
    return trial.is_published or _is_warm(trial)


def numerics_versions(trials: Iterable[Trial]) -> list[int]:
    """Of the code that trained them, each once, in order; a trial without an epoch says nothing of it."""
    return sorted({trial.outcome.numerics_version for trial in trials if trial.outcome and trial.outcome.epochs > 0})


def stopped_text(trials: Iterable[Trial]) -> str:
    """`Stopped early, so not compared here: 20 trials after 3 epochs, 7 after 9.`; empty where none was."""
    epochs = Counter(trial.outcome.epochs for trial in trials if trial.state is TrialState.STOPPED and trial.outcome)
    if not epochs:
        return ""
    (first, number), *rest = sorted(epochs.items())
    words = [
        f"{counted(number, 'trial')} after {counted(first, 'epoch')}",
        *(f"{many:,} after {epoch}" for epoch, many in rest),
    ]
    return f"Stopped early, so not compared here: {', '.join(words)}."


def _empty_table(manifest: StudyManifest, front: Front, caption: Text, ascii_only: bool) -> Table:
    table = Table(
        # As a Text, since rich reads markup in a string.
        title=Text(
            f"Pareto front of study {printable(manifest.name)}: {len(front.members)} of "
            f"{counted(len(front.ranks), 'complete trial')}, hypervolume {hypervolume_text(front.hypervolume)}",
            style="bold",
        ),
        caption=caption,
        box=_ASCII_BOX if ascii_only else box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title_justify="left",
        caption_justify="left",
        caption_style="",
    )
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold")
    table.add_column("attention", overflow="fold")
    for name in _shown(manifest):
        unit = f" ({metric(name).unit})" if metric(name).unit else ""
        table.add_column(heading(name) + unit, justify="right", no_wrap=True)
    table.add_column("on front", no_wrap=True)
    return table


def _caption(manifest: StudyManifest, trials: Sequence[Trial], ascii_only: bool) -> Text:
    images = counted(manifest.data.validation, "validation image")
    sentences = [
        "",
        f"1 GFLOP = 1e9 multiply-adds; accuracy on {images}, after the last epoch, one seed a trial.",
    ]
    if any(_error(trial, objective.name) is not None for trial in trials for objective in manifest.objectives):
        sentences.append(
            f"{_plus_minus(ascii_only)} is one standard error of so many images: differences of that size are noise."
        )
    if manifest.latency is not None:
        sentences.append(
            f"latency: one forward pass, {manifest.latency.text}; {_plus_minus(ascii_only)} is half the interquartile range, "
            f"and smaller differences are ties."
        )
    if len(versions := numerics_versions(trials)) > 1:
        sentences.append(
            f"! trained by an earlier version of cbam-search, which trains otherwise (numerics version "
            f"{', '.join(map(str, versions[:-1]))}, the others {versions[-1]}): their figures need not compare."
        )
    if stopped := stopped_text(trials):
        sentences.append(stopped)
    warm = f" ^ from the front of study {manifest.warm_start.study}." if manifest.warm_start else ""
    sentences.append(f"{placement_legend()} * published design.{warm}")
    if replayed := replayed_text(trials):
        sentences.append(f"{replayed}.")
    if manifest.excluded:
        sentences.append("excluded: a published design that breaks a constraint of the search.")
    return Text(presentable("\n".join(sentences)))


def _plus_minus(ascii_only: bool) -> str:
    return "+/-" if ascii_only else "±"


def _shown(manifest: StudyManifest) -> list[str]:
    """Measured objectives, the latency even where it is a constraint alone, then the costs, which every trial has."""
    measured = [objective.name for objective in manifest.objectives if metric(objective.name).source != "known"]
    if manifest.latency is not None:
        measured += [name for name in names_of("measured") if name not in measured]
    return measured + list(names_of("known"))


def _order(trial: Trial, manifest: StudyManifest) -> tuple[bool, float, int]:
    """Complete trials first, in the order of the front."""
    complete = trial.values is not None
    return not complete, point(trial, manifest.objectives)[-1] if complete else trial.candidate.gflops, trial.number


def _unfolded(table: Table) -> str:
    """The table as text of whatever width it needs."""
    page = io.StringIO()
    Console(file=page, width=_UNBOUNDED, color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())
