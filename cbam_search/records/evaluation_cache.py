"""Trainings that ended, of whichever study, for all others: one small JSON file a training, its weights in a file beside it.

A file's name is the SHA-256 of its key, which is all that a result depends on. Files are written once, whole or not at all, so
that studies may share a folder; who comes second gets what is there. Weights lie in `weights/` under the SHA-256 of their
content: they are there before the file that names them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cbam_search.durable import sha256_of, sync_folder, write_atomically, write_once
from cbam_search.errors import UserError
from cbam_search.records.trials import Outcome, TrialState

KEY_VERSION = 1
"""Raised when a key no longer means what it did: no older file is then found."""
KEPT_STATES = (TrialState.COMPLETE, TrialState.DIVERGED)
"""What the training alone decides. A stopped one says how its rivals stood, an infeasible one what the device could hold."""


class EvaluationKey(BaseModel):
    """All that a training's result depends on; two keys that differ in anything have nothing in common.

    architecture: its digest, which the source of a user's own backbone enters into. recipe: the section `training`. data:
    fingerprint (of pixels, labels and splits), sizes of the splits, image size, channels, mean and standard deviation.
    weights: SHA-256 of the file that trainings start from. device: `cpu`, or the GPU's model. precision: `float32` or `mixed`.
    versions: of what computes. code: SHA-256 of this package's own part in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_version: int = KEY_VERSION
    architecture: str
    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    weights: str | None
    device: str
    precision: str
    versions: dict[str, str]
    code: str

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal: the name of the file."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class Epoch(BaseModel):
    """One epoch; metrics and seconds as in the ledger, without latencies."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    epoch: int
    metrics: dict[str, float]
    seconds: float


class Evaluation(BaseModel):
    """A training that ended, with every epoch, and where it took place. weights: SHA-256 of their file, where it was kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    of: EvaluationKey
    study: str
    study_id: str
    trial: int
    outcome: Outcome
    epochs: tuple[Epoch, ...]
    weights: str | None
    hardware: str
    versions: dict[str, str]
    time_seconds: float = Field(default_factory=time.time)


def default_folder() -> Path:
    """Beside the caches of images and latencies."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cbam-search" / "evaluations"


def open_cache(setting: bool | str) -> EvaluationCache | None:
    """The cache that `search.evaluation_cache` means; raises UserError where its folder cannot be written."""
    if setting is False:
        return None
    folder = default_folder() if setting is True else Path(setting)
    probe = folder / f".probe.{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"search.evaluation_cache: the folder {folder} cannot be written: {error.strerror}") from None
    return EvaluationCache(folder)


class EvaluationCache:
    """What is known in `folder`. Nothing here raises OSError: a cache that cannot be used costs time, not the study.

    problems: what was wrong with which file, one sentence each, each once; damaged files count as not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._problems: dict[str, None] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self._problems)

    def path(self, key: EvaluationKey) -> Path:
        return self.folder / f"{key.digest}.json"

    def find(self, key: EvaluationKey) -> Evaluation | None:
        """The training of this key, or None."""
        path = self.path(key)
        try:
            found = Evaluation.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._note(path, error)
            return None
        if found.of != key or found.outcome.state not in KEPT_STATES:
            self._note(path, ValueError("it is about another training than its name says"))
            return None
        return found

    def lend_weights(self, evaluation: Evaluation, to: Path) -> bool:
        """Put the weights at `to`, where they are known and whole; returns whether they are there now."""
        if evaluation.weights is None:
            return False
        path = self._weights(evaluation.weights)
        try:
            if sha256_of(path) != evaluation.weights:
                self._note(path, ValueError("its content is not what it was"))
                return False
            link_or_copy(path, to)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._note(path, error)
            return False
        return True

    def keep(self, evaluation: Evaluation, weights: Path | None = None) -> None:
        """Keep a training that ended, and its weights where there are any. What is there and can be used stays."""
        path = self.path(evaluation.of)
        try:
            if weights is not None and weights.is_file():
                evaluation = evaluation.model_copy(update={"weights": self._keep_weights(weights)})
            content = evaluation.model_dump_json(indent=1) + "\n"
            # Never removed first: another study may have just written it, and look for it.
            if not write_once(path, content) and self._outdoes(evaluation):
                write_atomically(path, content)
        except OSError as error:
            self._note(path, error)

    def _outdoes(self, evaluation: Evaluation) -> bool:
        """Whether what is there is damaged, or has lost its weights or never had any, and this one has them."""
        there = self.find(evaluation.of)
        if there is None:
            return True
        if evaluation.weights is None:
            return False
        return there.weights is None or not self._is_whole(there.weights)

    def _keep_weights(self, weights: Path) -> str:
        sha256 = sha256_of(weights)
        if not self._is_whole(sha256):
            link_or_copy(weights, self._weights(sha256))
        return sha256

    def _is_whole(self, sha256: str) -> bool:
        try:
            return sha256_of(self._weights(sha256)) == sha256
        except OSError:
            return False

    def _weights(self, sha256: str) -> Path:
        return self.folder / "weights" / f"{sha256}.safetensors"

    def _note(self, path: Path, error: Exception) -> None:
        why = (error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]) or type(error).__name__
        self._problems[f"evaluation cache: {path} was left aside: {why}"] = None


def link_or_copy(source: Path, target: Path) -> None:
    """`target` becomes `source`'s content, whole or not at all: a second name for it on the same file system, else a copy.

    No file of ours is ever changed in place, so that two names do no harm.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        try:
            temporary.hardlink_to(source)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        # Renaming one of two names of the same file to the other leaves both.
        temporary.unlink(missing_ok=True)
