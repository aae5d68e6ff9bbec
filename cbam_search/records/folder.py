"""The folder of a study: what lies where."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from cbam_search.durable import write_atomically, write_once
from cbam_search.errors import StudyBusyError, UserError
from cbam_search.records.damage import unreadable
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.older import completed, refuse_newer
from cbam_search.records.project import Project, project_of
from cbam_search.safe_text import reason, shell_word

EvaluationFile = Literal["checkpoint", "weights", "predictions"]
STUDIES_VARIABLE = "CBAM_SEARCH_STUDIES"
_REFERENCES: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])


@dataclass(frozen=True)
class StudyFolder:
    """Paths inside one study's folder."""

    path: Path

    @property
    def given_yaml(self) -> Path:
        return self.path / "space.yaml"

    @property
    def resolved_yaml(self) -> Path:
        return self.path / "resolved.yaml"

    @property
    def manifest(self) -> Path:
        return self.path / "study.json"

    @property
    def references(self) -> Path:
        return self.path / "references.json"

    @property
    def latency(self) -> Path:
        """Folder of what the reference network of latencies took; see cost/latency_cache.py."""
        return self.path / "latency"

    @property
    def database(self) -> Path:
        return self.path / "optuna.db"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def evaluations(self) -> Path:
        """Holds one folder a training."""
        return self.path / "evaluations"

    @property
    def mlflow_state(self) -> Path:
        return self.path / "mlflow.json"

    @property
    def lease(self) -> Path:
        """Folder of who drives the study; see records/driver.py."""
        return self.path / "lease"

    @property
    def log(self) -> Path:
        return self.path / "study.log"

    def evaluation(self, name: str) -> Path:
        """Folder of one training, by its id: its epochs, its result, its checkpoint and what is kept of it."""
        return self.evaluations / name

    def result(self, name: str) -> Path:
        return self.evaluation(name) / "result.json"

    def measured(self, name: str) -> Path:
        return self.evaluation(name) / "measured.json"

    def epochs(self, name: str) -> Path:
        return self.evaluation(name) / "epochs.jsonl"

    def checkpoint(self, name: str) -> Path:
        return self.file(name, "checkpoint")

    def weights(self, name: str) -> Path:
        return self.file(name, "weights")

    def predictions(self, name: str) -> Path:
        return self.file(name, "predictions")

    def error(self, name: str) -> Path:
        """Where a training failed: the traceback."""
        return self.evaluation(name) / "error.txt"

    def claim(self, name: str) -> Path:
        """Which worker may hand something over; see records/inbox.py."""
        return self.evaluation(name) / ".claim"

    def file(self, name: str, file: EvaluationFile) -> Path:
        return self.evaluation(name) / f"{file}.safetensors"

    def part(self, name: str, file: EvaluationFile) -> Path:
        """The same file while it arrives piece by piece."""
        return self.evaluation(name) / f".{file}.part"

    def parts(self, name: str) -> list[Path]:
        """Those that are there."""
        return list(self.evaluation(name).glob(".*.part"))

    @property
    def run(self) -> str:
        """What commands take for this study, typed here: its name where they look for names, else its path."""
        name = self.path.name
        # A folder that somebody renamed may be called as an option is, or `latest`.
        at_home = (studies_folder() / name).resolve() == self.path and not name.startswith("-") and name != "latest"
        return name if at_home else str(self.path)

    @property
    def stop_command(self) -> str:
        """What to type to stop the study's driver."""
        return f"cbam-search stop {shell_word(self.run)}"

    def read_manifest(self) -> StudyManifest:
        """The manifest, with the references that were fixed since.

        Raises RecordsError when one of them is damaged, UserError where this user may not read them.
        """
        try:
            content = json.loads(self.manifest.read_bytes())
            refuse_newer(content, self.path)
            manifest = StudyManifest.model_validate(completed(content, self.resolved_yaml))
        except UserError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise unreadable(self.manifest, error, "Put back a copy of it") from error
        try:
            return manifest.with_references(_REFERENCES.validate_json(self.references.read_bytes()))
        except FileNotFoundError:
            return manifest
        except (OSError, ValueError) as error:
            mend = "Put back a copy of it, or delete it: a resume works it out again"
            raise unreadable(self.references, error, mend) from error

    def project(self) -> Project:
        """Where its YAML lay, and lies now; raises RecordsError where the manifest is damaged."""
        return project_of(self.path, self.read_manifest())

    def fix_references(self, references: Mapping[str, float]) -> None:
        """Once for the study: from now on every reader of the manifest sees them."""
        write_once(self.references, json.dumps(dict(references), indent=1) + "\n")

    def write_manifest(self, manifest: StudyManifest) -> None:
        write_atomically(self.manifest, manifest.model_dump_json(indent=1) + "\n")

    def lock(self) -> FileLock:
        """Take charge of the study; raises StudyBusyError when another process has, UserError where nothing can be written."""
        self._require_writable()
        lock = FileLock(self.path / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StudyBusyError(
                f"another process drives the study in {self.path}. Which one: cbam-search status {shell_word(self.run)}. "
                f"Wait for it, or end it ({self.stop_command}), then try again"
            ) from None
        except OSError as error:
            raise UserError(f"the study in {self.path} cannot be driven from here: {reason(error)}") from None
        return lock

    def _require_writable(self) -> None:
        """Raise UserError where a file of the study may not be changed: half a study must not be driven."""
        for path in (self.path, self.ledger, self.database, self.lease, self.evaluations, self.log):
            needed = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
            if path.exists() and not os.access(path, needed):
                why = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
                raise UserError(
                    f"the study in {self.path} cannot be driven or sent to MLflow from here: {os.strerror(why)}: {path}. Do it "
                    f"as the user and on the machine that may write there"
                )


def studies_folder() -> Path:
    """Where studies are looked up by name: $CBAM_SEARCH_STUDIES, else `studies` here."""
    return Path(os.environ.get(STUDIES_VARIABLE, "studies"))
