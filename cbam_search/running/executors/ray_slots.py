"""What a trial that has no worker yet waits for: a place in Ray that others hold."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.util import placement_group_table

from cbam_search.running.cluster import TrialResources

SHOWN_AFTER_SECONDS = 5.0
_LOOK_SECONDS = 2.0


class SlotWatch:
    """Told when trials of Tune's want a worker and get one, it says what is in their way.

    Tune's thread notes, the driver's asks: what they share changes in single steps.
    """

    def __init__(self, resources: TrialResources) -> None:
        self._resources = resources
        self._wanted_since: dict[str, float] = {}
        self._looked_at = 0.0
        self._pending: set[str] = set()
        """Places that Ray had not found at the last look."""

    def wants(self, ray_id: str) -> None:
        """A trial wants a worker."""
        self._wanted_since[ray_id] = time.monotonic()

    def wants_no_more(self, ray_id: str) -> None:
        """It has one, or has ended."""
        self._wanted_since.pop(ray_id, None)

    def is_wanted(self, ray_id: str) -> bool:
        """Whether it has no worker yet."""
        return ray_id in self._wanted_since

    def waiting(self) -> list[str]:
        """Trials that have waited for more than a few seconds because no slot is free; looked up every two seconds."""
        now = time.monotonic()
        overdue = [ray_id for ray_id, since in list(self._wanted_since.items()) if now - since > SHOWN_AFTER_SECONDS]
        if not overdue or now - self._looked_at < _LOOK_SECONDS:
            return []
        self._looked_at = now
        # Without one of ours that is pending they have their slots, and their workers are starting. One look may fall between
        # a worker's death and the place for the next.
        before, self._pending = self._pending, _slots_pending()
        return overdue if before & self._pending else []

    def waits_for(self) -> str:
        """`1 CPU of the Ray cluster (0 of 8 CPUs are free)`."""
        free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        wanted = {"CPU": self._resources.cpus, "GPU": self._resources.gpus}
        asked = " and ".join(_many(amount, name) for name, amount in wanted.items() if amount)
        left = " and ".join(
            f"{free.get(name, 0.0):g} of {_many(total.get(name, 0.0), name)}" for name, amount in wanted.items() if amount
        )
        fits = all(free.get(name, 0.0) >= amount for name, amount in wanted.items())
        return f"{asked}{' on one node' if fits else ''} of the Ray cluster ({left} free)"


def _slots_pending() -> set[str]:
    """What Tune asked for and Ray has not placed: ids of placement groups, which end with that of the job."""
    job = ray.get_runtime_context().get_job_id()
    groups: dict[str, dict[str, Any]] = placement_group_table()
    return {name for name, group in groups.items() if name.endswith(job) and group["state"] == "PENDING"}


def _many(amount: float, name: str) -> str:
    return f"{amount:g} {name}{'' if amount == 1 else 's'}"
