"""A study as its user sees it: its trials, its front, and the best of it to take away."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from cbam_search import pareto
from cbam_search.counted import counted
from cbam_search.errors import CbamSearchError, ExportError
from cbam_search.export.module import write_module
from cbam_search.metrics import error_name
from cbam_search.own_code import CodePermission
from cbam_search.records.events import TrialStarted
from cbam_search.records.folder import StudyFolder
from cbam_search.records.front import Front, front_of, point
from cbam_search.records.ledger import read_events
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.older import weights_path
from cbam_search.records.storage import storage_to_read
from cbam_search.records.stored_trials import read_trials, trials_lost
from cbam_search.records.studies import find_study
from cbam_search.records.trials import Trial, TrialState
from cbam_search.safe_text import printable, reason
from cbam_search.study.config import StudyConfig, read_config_of
from cbam_search.study.space_from_config import require_code_permission

MOST_DIGITS = 18
"""Of a trial's number; Python refuses to read numbers of thousands of digits."""


@dataclass(frozen=True)
class Study:
    """A study read from its records. trials: by number, skipped proposals among them."""

    folder: StudyFolder
    config: StudyConfig
    manifest: StudyManifest
    trials: dict[int, Trial]
    front: Front

    @property
    def name(self) -> str:
        """The study's name: its folder's."""
        return self.folder.path.name

    def pick(self, choice: str) -> Trial:
        """The trial that `choice` means: `knee`, `best-accuracy`, or a trial's number; raises ExportError."""
        members = self.front.members
        if choice.isdecimal():
            trial = self.trials.get(int(choice)) if len(choice) <= MOST_DIGITS else None
            if trial is None or trial.values is None:
                numbers = ", ".join(map(str, self.front.numbers)) or "none yet"
                raise ExportError(f"{_not_finished(printable(choice), trial, self.name)}. On the front: {numbers}")
            return trial
        if not members:
            raise ExportError(f"study {self.name} has no complete trial yet, so there is nothing to pick")
        if choice == "knee":
            points = [point(trial, self.manifest.objectives) for trial in members]
            return members[pareto.knee(points, [objective.maximise for objective in self.manifest.objectives])]
        if choice == "best-accuracy":
            return max(members, key=lambda trial: (trial.outcome.value("accuracy") if trial.outcome else None) or 0.0)
        raise ExportError(f"'{printable(choice)}' picks nothing. Allowed: knee, best-accuracy, or the number of a trial")

    def export(self, output: str | Path, pick: str = "knee", *, allow_code: bool = False) -> Path:
        """Write a trained network as a Python module that needs torch only; returns its folder.

        allow_code: whether the function that builds your own backbone may be run. Raises ExportError, CodeNotAllowedError, and
        OwnCodeError, also where that function's source is no longer that of the study.
        """
        code = CodePermission.of(allow_code)
        require_code_permission(self.config, code)
        trial = self.pick(pick)
        weights = self.folder.weights(trial.evaluation)
        try:
            weights = weights_path(self.folder, trial)
            tensors = load_file(weights)
        except FileNotFoundError:
            raise ExportError(
                f"the weights of trial {trial.number} were not kept, or are gone from {weights}: records.keep is "
                f"{self.config.records.keep}, records.keep_gib is {self.config.records.keep_gib:g}. With 'front', the default, "
                f"the front keeps its weights, and so do the bare, SE and CBAM networks on its backbones; with 'all' every "
                f"trial does"
            ) from None
        except (OSError, SafetensorError) as error:
            raise ExportError(
                f"the weights of trial {trial.number} cannot be read: {weights}: {reason(error, with_file=False)}. Export "
                f"another trial"
            ) from None
        data = self.manifest.data
        return write_module(
            trial.candidate.architecture,
            tensors,
            Path(output),
            class_names=data.class_names,
            mean=data.mean,
            std=data.std,
            image_size=data.image_size,
            description=f"Trial {trial.number} of study {self.name}: an image classifier of {len(data.class_names)} classes.",
            metadata={"study": self.name, "trial": trial.number, **_figures(trial), **self._latency_setting()},
            code=code,
        )

    def _latency_setting(self) -> dict[str, Any]:
        return {"latency": self.manifest.latency.model_dump(mode="json")} if self.manifest.latency else {}


def read_study(folder: StudyFolder) -> Study:
    """Read a study's records without taking charge of it, changing nothing; it may be running.

    Raises RecordsError where they are damaged, UserError where this user may not read them.
    """
    manifest = folder.read_manifest()
    config = read_config_of(folder)
    told = _ledger_tells_of_trials(folder)  # before the storage, which has each trial first
    with storage_to_read(config.records.storage, folder) as storage:
        trials = read_trials(storage, manifest) if storage is not None else {}
    if told and not trials:
        raise trials_lost(manifest, folder)
    return Study(folder, config, manifest, trials, front_of(trials.values(), manifest.objectives))


def open_study(run: str | Path = "latest") -> Study:
    """The study that `run` means: its name, its folder, or `latest`; raises StudyNotFoundError."""
    return read_study(find_study(str(run)))


def _ledger_tells_of_trials(folder: StudyFolder) -> bool:
    """False for a ledger that cannot be read: the storage alone is enough to show a study."""
    with suppress(CbamSearchError):
        return any(isinstance(event, TrialStarted) for event, _ in read_events(folder.ledger))
    return False


def _not_finished(choice: str, trial: Trial | None, study: str) -> str:
    """Why there is no trained network of a trial to take away."""
    if trial is None:
        return f"study {study} has no trial {choice}"
    return f"trial {choice} of study {study} {_end(trial)}"


def _end(trial: Trial) -> str:
    """How a trial came to its end without a finished training."""
    if trial.outcome is None:
        return "has not ended yet"
    epochs = trial.outcome.epochs
    match trial.state:
        case TrialState.DUPLICATE:
            return f"was not trained: it is a duplicate of trial {trial.outcome.duplicate_of}"
        case TrialState.INFEASIBLE:
            return "was not trained: it is infeasible"
        case TrialState.STOPPED:
            return f"was stopped at epoch {epochs}"
        case _:
            return f"{trial.state.value} after {counted(epochs, 'epoch')}"


def _figures(trial: Trial) -> dict[str, Any]:
    assert trial.outcome is not None
    metrics = trial.outcome.metrics
    values = {name: entry.value for name, entry in metrics.items()}
    errors = {error_name(name): entry.standard_error for name, entry in metrics.items() if entry.standard_error is not None}
    return {"gflops": trial.candidate.gflops, "params": trial.candidate.params, **values, **errors}
