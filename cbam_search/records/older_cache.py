"""Evaluation caches of version 0.1, whose keys held a hash of this package's source."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cbam_search.identity import identity
from cbam_search.records.evaluation import Evaluation, EvaluationKey, TrainedBy
from cbam_search.safe_text import reason
from cbam_search.training.config import TrainingConfig
from cbam_search.training.numerics import NUMERICS_VERSION

NUMERICS_OF_CODE: dict[str, int] = {"990b00d8c72b386dee9bdc0b27e3781d739d038974b24f05bad751f545fc98b5": 1}
"""The numerics version that the code of such a hash had."""
_OLD_NAME = re.compile(r"[0-9a-f]{64}\.json")


def bring_cache_up_to_date(folder: Path, keep: Callable[[Evaluation], None]) -> Iterator[str]:
    """Hand what version 0.1 kept in `folder` to `keep`, and remove its files; yields a sentence for each file that stays."""
    others = 0
    for path in sorted(path for path in folder.glob("*.json") if _OLD_NAME.fullmatch(path.name)):
        try:
            old = json.loads(path.read_bytes())
            evaluation = _of_today(old)
        except OSError as error:
            yield f"{path} was left aside: {reason(error, with_file=False)}"
        except (ValueError, KeyError, TypeError, AttributeError):
            yield f"{path} was left aside: it is damaged"
        else:
            if evaluation is None:
                others += 1
                continue
            keep(evaluation)
            path.unlink(missing_ok=True)
    if others:
        yield (
            f"{others} entries in {folder} are left aside: they were made by code that is not known to train as this version "
            f"does (numerics version {NUMERICS_VERSION}). Remove them to make room"
        )


def _of_today(old: dict[str, Any]) -> Evaluation | None:
    """None where the code that trained it is not known."""
    of = old["of"]
    numerics = NUMERICS_OF_CODE.get(of["code"])
    if numerics is None:
        return None
    key = EvaluationKey(
        architecture=of["architecture"],
        recipe=_recipe(of["recipe"]),
        seed=of["seed"],
        data=of["data"],
        weights=of["weights"],
        device=of["device"],
        precision=of["precision"],
        numerics_version=numerics,
        versions={name: version for name, version in of["versions"].items() if name != "cbam-search"},
    )
    return Evaluation.model_validate(
        {
            "architecture": None,
            "seed": of["seed"],
            "key": key,
            "trial": old["trial"],
            "epochs": old["epochs"],
            "outcome": old["outcome"],
            "weights": old["weights"],
            "trained_by": TrainedBy(
                study=old["study"],
                study_id=old["study_id"],
                hardware=old["hardware"],
                versions=old["versions"],
                time_seconds=old["time_seconds"],
            ),
        }
    )


def _recipe(given: dict[str, Any]) -> dict[str, Any]:
    try:
        return identity(TrainingConfig.model_validate(given))
    except ValidationError as error:
        raise ValueError(f"not a recipe: {error}") from error
