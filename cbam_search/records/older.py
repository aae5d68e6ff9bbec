"""Studies of other versions: what version 0.1 wrote is read here and brought up to date; what a newer one wrote is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cbam_search.architecture import Architecture
from cbam_search.durable import sync_folder, write_atomically
from cbam_search.errors import NewerStudyError
from cbam_search.records.manifest import SCHEMA_VERSION
from cbam_search.records.trials import Trial, with_spreads
from cbam_search.training.epoch import EPOCH, Epoch

if TYPE_CHECKING:
    from cbam_search.records.folder import StudyFolder


def refuse_newer(manifest: Any, folder: Path) -> None:
    """Raise NewerStudyError for a manifest, as JSON, of a later schema than this version writes."""
    found = manifest.get("schema_version", 1) if isinstance(manifest, dict) else 1
    if isinstance(found, int) and found > SCHEMA_VERSION:
        versions = manifest.get("versions")
        made_by = versions.get("cbam-search", "a newer version") if isinstance(versions, dict) else "a newer version"
        raise NewerStudyError(
            f"the study in {folder} was made by cbam-search {made_by} and needs that version or a newer one: its records have "
            f"schema {found}, and this build, {version('cbam-search')}, reads up to {SCHEMA_VERSION}"
        )


def completed(manifest: Any, resolved_yaml: Path) -> Any:
    """A manifest as JSON; that of version 0.1 with the seed and the hours, which stood in the YAML alone."""
    if not isinstance(manifest, dict) or manifest.get("schema_version") != 1 or "seed" in manifest:
        return manifest
    try:
        settings = yaml.safe_load(resolved_yaml.read_text(encoding="utf-8"))
        hours = settings.get("search", {}).get("stop", {}).get("hours")
        return {**manifest, "seed": settings.get("seed", 0), "hours": hours}
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return manifest


def bring_up_to_date(folder: StudyFolder, trials: Iterable[Trial]) -> None:
    """Move what version 0.1 kept by trial number to where it is kept by training. Repeated after a crash, it goes on."""
    old = folder.path / "trials"
    if not old.is_dir():
        return
    for trial in trials:
        source = old / f"{trial.number:05d}"
        target = folder.evaluation(trial.evaluation)
        if source.is_dir() and not target.exists():
            _rewrite(source)
            target.parent.mkdir(exist_ok=True)
            source.rename(target)
    # What is left belongs to no trial that the storage knows of: a crash of the machine took these numbers back.
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(folder.path)


def weights_path(folder: StudyFolder, trial: Trial) -> Path:
    """Where a trial's weights lie, also in a study of version 0.1 that nobody has resumed since."""
    here = folder.weights(trial.evaluation)
    old = folder.path / "trials" / f"{trial.number:05d}" / "weights.safetensors"
    return old if not here.exists() and old.exists() else here


def evaluation_of_table_line(line: Any, architectures: Mapping[str, Architecture]) -> Any:
    """A line of a table's journal, as JSON, with a training of version 0.1 as an evaluation. architectures: by digest."""
    if not isinstance(line, dict) or "training" not in line:
        return line
    old = line["training"]
    complete = old["state"] == "complete"
    curves = zip(old["validation_accuracy"], old["train_loss"], old["seconds"], old["processor_seconds"], strict=True)
    epochs = [
        {
            "epoch": number,
            "metrics": {"train_loss": loss, "accuracy": accuracy},
            "seconds": wall,
            "processor_seconds": processor,
        }
        for number, (accuracy, loss, wall, processor) in enumerate(curves, start=1)
        if wall > 0
    ]
    evaluation = {
        "architecture": architectures[old["digest"]],
        "seed": old["seed"],
        "epochs": epochs,
        "outcome": {
            "state": old["state"],
            "metrics": {"test_accuracy": old["test_accuracy"]} if complete else {},
            "epochs": len(epochs) - (not complete),
            "seconds": sum(old["seconds"]),
        },
    }
    return {"evaluation": evaluation}


def _rewrite(source: Path) -> None:
    """Epochs and latency of one training; results are read in either form."""
    epochs, latency = source / "epochs.jsonl", source / "latency.json"
    if epochs.exists():
        rows = [row for line in epochs.read_text(encoding="utf-8").splitlines() if (row := epoch_of_line(line))]
        write_atomically(epochs, b"".join(EPOCH.dump_json(row) + b"\n" for row in rows))
    if latency.exists():
        try:
            measured = with_spreads(json.loads(latency.read_text(encoding="utf-8")))
        except (ValueError, AttributeError):
            measured = None  # damaged: it is measured again
        if measured is not None:
            write_atomically(source / "measured.json", json.dumps(measured) + "\n")
        latency.unlink()


def epoch_of_line(line: str) -> Epoch | None:
    """An epoch as a worker left it, in today's form or in that of version 0.1, where metrics were not apart; None if torn."""
    try:
        row = json.loads(line)
        if "metrics" not in row:
            apart = {name: row.pop(name) for name in ("epoch", "seconds")}
            row = {**apart, "metrics": {name: value for name, value in row.items() if not name.startswith("latency_")}}
        return EPOCH.validate_python(row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
