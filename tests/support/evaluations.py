"""Trainings as a model learns from them, made up."""

from __future__ import annotations

from collections.abc import Mapping

from cbam_search.architecture import Architecture
from cbam_search.metrics import Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.training.epoch import Epoch


def evaluation_of(
    number: int,
    architecture: Architecture,
    state: TrialState,
    curve: Mapping[int, float] | None = None,
    final: float | None = None,
) -> Evaluation:
    """curve: accuracy by epoch. final: accuracy as the training's outcome has it."""
    curve = curve or {}
    epochs = tuple(Epoch(epoch, {"accuracy": value}, 1.0) for epoch, value in curve.items())
    metrics = {} if final is None else {"accuracy": Measured(value=final)}
    ended = Outcome(state=state, metrics=metrics, epochs=max(curve, default=0))
    outcome = None if state is TrialState.RUNNING else ended
    return Evaluation(architecture=architecture, seed=0, trial=number, epochs=epochs, outcome=outcome)
