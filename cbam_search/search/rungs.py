"""The rungs of a study as its ledger tells them, and whether a trial that arrives at one goes on."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import nan

from cbam_search.metrics import Measured, known_values, tolerance
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Candidate, Origin
from cbam_search.records.view import StudyView
from cbam_search.search.config import SchedulerConfig
from cbam_search.search.early_stopping import RungRecord, rung_levels
from cbam_search.search.feasibility import excess, measured_excess
from cbam_search.search.rung import Rung

EXEMPT = frozenset({Origin.PUBLISHED, Origin.WARM_START})
"""Trials of these origins are never stopped."""


class Rungs:
    """Is told each epoch in the order of the ledger, and says which trials to stop. Not thread-safe.

    A trial is judged among the records that had arrived at its rung before it, and its own. So another driver, after a crash,
    comes to the same answer.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        *,
        epochs: int,
        bounds: Mapping[str, float],
        measured_bounds: Mapping[str, float],
    ) -> None:
        """epochs: of a full training. bounds, measured_bounds: as of `Proposer`."""
        self._reduction_factor = config.reduction_factor
        self._bounds = bounds
        self._measured_bounds = measured_bounds
        levels = rung_levels(config.grace_period, config.reduction_factor, epochs)
        self._rungs: dict[int, Rung] = {level: Rung() for level in levels}
        """By the epochs of the rung."""
        self._positions: dict[int, tuple[int, int]] = {}
        """By trial, of its last record: the epochs of the rung, and the record's index in the order of arrival."""
        self._passed: dict[int, int] = {}
        """By trial, the epochs of the last rung at which it was not stopped."""

    @property
    def records(self) -> dict[int, list[RungRecord]]:
        """By epochs, in the order of arrival."""
        return {level: rung.records for level, rung in self._rungs.items()}

    def epoch(
        self,
        trial: int,
        candidate: Candidate,
        epoch: int,
        metrics: Mapping[str, float],
        measured: Mapping[str, Measured],
        objectives: Sequence[ObjectiveAxis],
    ) -> None:
        """A trial finished an epoch; to be called once an epoch, even where a crash had it trained twice.

        metrics: of that epoch. measured: of the trial's architecture, before the training.
        """
        if epoch not in self._rungs:
            return
        known = {**metrics, **{name: entry.value for name, entry in measured.items()}, **known_values(candidate)}
        record = RungRecord(
            trial=trial,
            values=tuple(known.get(objective.name, nan) for objective in objectives),
            tolerances=tuple(tolerance(objective.name, measured) for objective in objectives),
            excess=max(excess(candidate, self._bounds), measured_excess(measured, self._measured_bounds)),
            exempt=candidate.origin in EXEMPT,
        )
        self._positions[trial] = epoch, len(self._rungs[epoch].records)
        self._rungs[epoch].add(record)

    def fill(self, view: StudyView, objectives: Sequence[ObjectiveAxis], *, without: Container[int] = ()) -> None:
        """Take over what earlier drivers recorded of all trials but those in `without`.

        A trial that trained on after a rung was not stopped there, nor at the rungs before.
        """
        for level in self._rungs:
            for trial in view.arrivals.get(level, ()):
                if trial in without:
                    continue
                epoch = view.epoch_of(trial, level)
                assert epoch is not None
                candidate = view.trials[trial].candidate
                self.epoch(trial, candidate, level, epoch.metrics, view.measured(trial), objectives)
        for trial, (level, _) in self._positions.items():
            if view.epochs_recorded(trial) > level:
                self._passed[trial] = level

    def reason_to_stop(self, trial: int, objectives: Sequence[ObjectiveAxis]) -> str | None:
        """Why the trial does not go on past the last rung that it reached; None where it does, or reached none yet."""
        if trial not in self._positions:
            return None
        level, position = self._positions[trial]
        if self._passed.get(trial, 0) >= level:
            return None
        reason = self._rungs[level].reason_to_stop(position, objectives, self._reduction_factor)
        if reason is None:
            self._passed[trial] = level
            return None
        return f"at epoch {level}, {reason}"
