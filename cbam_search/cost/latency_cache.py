"""Latencies that were measured before, by whichever study: one small JSON file a network and setting.

A candidate's file holds its ratio to the reference network, and the reference's own file what that takes in milliseconds: a
ratio holds whenever it was measured, and the milliseconds of one setting come from one measurement.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cbam_search.cache_folder import cache_folder
from cbam_search.cost.latency import LatencySetting, Ratio
from cbam_search.durable import write_once
from cbam_search.errors import UserError

_FORMAT = 1


def default_folder() -> Path | None:
    """Beside the cache of images; None for a user without a folder for caches: measuring anew costs time, nothing else."""
    try:
        return cache_folder("latency")
    except UserError:
        return None


class LatencyCache:
    """What is known in `folder`. A file is written once; who comes second gets what is there.

    Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def ratio(self, setting: LatencySetting, digest: str) -> Ratio | None:
        """Of the network with this digest, or None where it was not measured yet."""
        found = self._read(_key(setting, network=digest))
        return Ratio(float(found["median"]), float(found["half_iqr"])) if found else None

    def keep_ratio(self, setting: LatencySetting, digest: str, ratio: Ratio) -> None:
        self._write(_key(setting, network=digest), asdict(ratio))

    def nominal_ms(self, setting: LatencySetting) -> float | None:
        """Of the reference network, or None where it was not measured yet."""
        found = self._read(_key(setting, network="reference alone"))
        return float(found["milliseconds"]) if found else None

    def keep_nominal_ms(self, setting: LatencySetting, milliseconds: float) -> float:
        """Keep it, unless another process was quicker: returns the figure that counts."""
        self._write(_key(setting, network="reference alone"), {"milliseconds": milliseconds})
        kept = self.nominal_ms(setting)
        return milliseconds if kept is None else kept

    def _path(self, folder: Path, key: dict[str, Any]) -> Path:
        return folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}.json"

    def _read(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """None for a file that is damaged, too: measuring again mends it."""
        if self._folder is None:
            return None
        try:
            content = json.loads(self._path(self._folder, key).read_text(encoding="utf-8"))
            measured = content["measured"]
            whole = isinstance(measured, dict) and all(float(value) >= 0 for value in measured.values())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return measured if whole else None

    def _write(self, key: dict[str, Any], measured: dict[str, float]) -> None:
        if self._folder is None:
            return
        path = self._path(self._folder, key)
        if path.exists() and self._read(key) is None:
            path.unlink(missing_ok=True)
        write_once(path, json.dumps({"of": key, "measured": measured}, indent=1) + "\n")


def _key(setting: LatencySetting, *, network: str) -> dict[str, Any]:
    """As the file shows it to a reader; its hash is the file's name."""
    settings = json.loads(json.dumps(asdict(setting)))
    return {"format": _FORMAT, "network": network, "reference": setting.reference().digest, "setting": settings}
