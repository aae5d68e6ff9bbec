"""What a driver that died between two writes left half done, put right by the next one before it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from cbam_search.errors import DamagedFileError
from cbam_search.records.results import read_result
from cbam_search.records.stored_trials import UNFINISHED
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import Outcome, TrialState


@dataclass
class Settled:
    """What is left for others to do.

    untold: trials that ended, and that the sampler was not told of.
    handed_over: trainings that ended and whose end no driver noted, by trial.
    cut_off: trials whose training goes on.
    problems: files that were damaged, as sentences.
    """

    untold: list[int] = field(default_factory=list)
    handed_over: dict[int, Outcome] = field(default_factory=dict)
    cut_off: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def settle(records: StudyRecords) -> Settled:
    """Settle a study that is opened again; there is nothing to do in a new one."""
    settled = Settled()
    storage, study_id = records.storage, records.optuna_study_id
    for frozen in storage.get_all_trials(study_id, deepcopy=False, states=UNFINISHED):
        trial = records.trials.get(frozen.number)
        if trial is None:
            # The driver died between the proposal and its record: nobody knows of it.
            _discard(records, frozen)
        elif trial.outcome is not None:
            if trial.was_trained:
                records.settle(trial.number)
            settled.untold.append(trial.number)
        else:
            _look_for_its_end(records, trial.number, settled)
    settled.cut_off = [
        number
        for number, trial in records.trials.items()
        if trial.state is TrialState.RUNNING and number not in settled.handed_over
    ]
    return settled


def _discard(records: StudyRecords, frozen: FrozenTrial) -> None:
    storage = records.storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(records.optuna_study_id, frozen.number)
    if frozen.state is OptunaState.WAITING:
        storage.set_trial_state_values(trial_id, OptunaState.RUNNING)
    storage.set_trial_state_values(trial_id, OptunaState.FAIL)


def _look_for_its_end(records: StudyRecords, number: int, settled: Settled) -> None:
    try:
        outcome = read_result(records.folder.result(records.trials[number].evaluation))
    except DamagedFileError as error:
        settled.problems.append(f"trial {number} is trained again, since what was left of it cannot be read: {error}")
        return
    if outcome is not None:
        settled.handed_over[number] = outcome
