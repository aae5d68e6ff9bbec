"""Trainings that ended, of whichever study, for all others: one small JSON file a training, its weights and predictions beside
it.

A file is named after the SHA-256 of its key, which is all that a result depends on. Files are written once, whole or not at
all, so that studies may share a folder; who comes second gets what is there. Weights lie in `weights/` under the SHA-256 of
their content: they are there before the file that names them.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from cbam_search.cache_folder import cache_folder
from cbam_search.durable import sha256_of, sync_folder, write_atomically, write_once
from cbam_search.errors import UserError
from cbam_search.records.evaluation import Evaluation, EvaluationKey
from cbam_search.records.older_cache import bring_cache_up_to_date
from cbam_search.records.trials import TrialState
from cbam_search.safe_text import reason

Artifact = Literal["weights", "predictions"]
ARTIFACTS: tuple[Artifact, ...] = ("weights", "predictions")
KEPT_STATES = (TrialState.COMPLETE, TrialState.DIVERGED)
"""What the training alone decides. A stopped one says how its rivals stood, an infeasible one what the device could hold."""


def default_folder() -> Path:
    """Beside the caches of images and latencies."""
    return cache_folder("evaluations")


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
        raise UserError(
            f"search.evaluation_cache: the folder {folder} cannot be written: {reason(error, with_file=False)}"
        ) from None
    cache = EvaluationCache(folder)
    cache.bring_up_to_date()
    return cache


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
        return self.folder / f"{key.digest}.evaluation.json"

    def bring_up_to_date(self) -> None:
        """Take over what version 0.1 kept here, as far as it is known to be the same training."""
        for problem in bring_cache_up_to_date(self.folder, self.keep):
            self._problems[f"evaluation cache: {problem}"] = None

    def find(self, key: EvaluationKey) -> Evaluation | None:
        """The training of this key, or None."""
        path = self.path(key)
        try:
            if not path.exists():
                path = self.folder / f"{key.digest_of_all_digits}.evaluation.json"
            found = Evaluation.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._note(path, error)
            return None
        if found.key is None or found.key.digest != key.digest or found.state not in KEPT_STATES:
            self._note(path, ValueError("it is about another training than its name says"))
            return None
        return found

    def lend(self, artifact: Artifact, evaluation: Evaluation, to: Path) -> bool:
        """Put the weights or predictions at `to`, where they are known and whole; returns whether they are there now."""
        sha256: str | None = getattr(evaluation, artifact)
        if sha256 is None:
            return False
        path = self._file(artifact, sha256)
        try:
            if sha256_of(path) != sha256:
                self._note(path, ValueError("its content is not what it was"))
                return False
            link_or_copy(path, to)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._note(path, error)
            return False
        return True

    def keep(self, evaluation: Evaluation, files: Mapping[Artifact, Path] | None = None) -> None:
        """Keep a training that ended, and of these files those that are there. What is kept already and can be used stays."""
        assert evaluation.key is not None
        path = self.path(evaluation.key)
        try:
            present = {artifact: file for artifact, file in (files or {}).items() if file.is_file()}
            kept: dict[str, str] = {artifact: self._keep_file(artifact, file) for artifact, file in present.items()}
            evaluation = evaluation.model_copy(update=kept)
            # Never removed first: another study may have just written it, and look for it.
            if not write_once(path, _as_text(evaluation)) and (better := self._completed(evaluation)):
                write_atomically(path, _as_text(better))
        except OSError as error:
            self._note(path, error)

    def _completed(self, evaluation: Evaluation) -> Evaluation | None:
        """What is to be kept in place of what is there: that is damaged, or lacks a file that this one has; else None."""
        assert evaluation.key is not None
        there = self.find(evaluation.key)
        if there is None:
            return evaluation
        usable: dict[str, str] = {
            artifact: sha256 for artifact in ARTIFACTS if self._is_whole(artifact, sha256 := getattr(there, artifact))
        }
        gained = [artifact for artifact in ARTIFACTS if getattr(evaluation, artifact) is not None and artifact not in usable]
        return evaluation.model_copy(update=usable) if gained else None

    def _keep_file(self, artifact: Artifact, file: Path) -> str:
        sha256 = sha256_of(file)
        if not self._is_whole(artifact, sha256):
            link_or_copy(file, self._file(artifact, sha256))
        return sha256

    def _is_whole(self, artifact: Artifact, sha256: str | None) -> bool:
        try:
            return sha256 is not None and sha256_of(self._file(artifact, sha256)) == sha256
        except OSError:
            return False

    def _file(self, artifact: Artifact, sha256: str) -> Path:
        return self.folder / artifact / f"{sha256}.safetensors"

    def _note(self, path: Path, error: Exception) -> None:
        self._problems[f"evaluation cache: {path} was left aside: {reason(error, with_file=False)}"] = None


def _as_text(evaluation: Evaluation) -> str:
    return evaluation.model_dump_json(indent=1) + "\n"


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
